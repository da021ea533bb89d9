#include "flow/operators.h"

#include <arrow/compute/api.h>

#include <charconv>

#include "base/fault.h"
#include "base/random.h"
#include "base/text.h"
#include "flow/expression.h"
#include "flow/keeping_pool.h"
#include "flow/split.h"
#include "flow/text_column.h"
#include "shoal/error.h"
#include "text/byte_pairs.h"
#include "text/utf8.h"
#include "text/word_splitter.h"

namespace shoal::flow {
namespace {

class Filter final : public Operator {
 public:
  Filter(const flow_steps::Filter& step, const SchemaPtr& in, const std::string& place)
      : schema_(in), condition_(step.expression, in, place), place_(place) {
    if (condition_.type()->id() != arrow::Type::BOOL)
      throw InputError(cat(place, ": got an expression of type ", type_name(*condition_.type()),
                           ", want a condition (bool)"));
  }
  const SchemaPtr& out_schema() const override { return schema_; }
  Names needs(const Names& wanted) const override {
    Names names = condition_.columns();
    names.insert(wanted.begin(), wanted.end());
    return names;
  }
  Batch apply(const Batch& batch) override {
    const ArrayPtr keep = condition_.evaluate(batch);
    arrow::compute::ExecContext context(&memory());
    return value(arrow::compute::Filter(batch, keep, arrow::compute::FilterOptions::Defaults(), &context),
                 place_)
        .record_batch();  // null drops the row
  }

 private:
  SchemaPtr schema_;
  BoundExpression condition_;
  std::string place_;
};

/// select and with_column.
class Columns final : public Operator {
 public:
  Columns(const std::vector<std::pair<std::string, std::string>>& columns, bool keep_others,
          const SchemaPtr& in, const std::string& place) {
    if (columns.empty()) throw InputError(cat(place, ": got no column, want at least one"));
    keep_others_ = keep_others;
    schema_ = keep_others ? in : arrow::schema(arrow::FieldVector());
    SchemaPtr seen = in;  // with_column: each sees those before it
    for (const auto& [name, text] : columns) {
      const std::string here = cat(place, ", ", name);
      if (name.empty() || name.front() == ' ') throw InputError(cat(here, ": want a name"));
      expressions_.emplace_back(BoundExpression(text, seen, here));
      schemas_.push_back(seen);
      const auto type = expressions_.back().type();
      if (type->id() == arrow::Type::NA)
        throw InputError(cat(here, ": got null without a type; write text(null), int(null) or float(null)"));
      const auto field = arrow::field(name, type);
      const int old = column_of(*schema_, name);
      if (old >= 0 && !keep_others) throw InputError(cat(here, ": two columns have this name"));
      targets_.push_back(old);
      fields_.push_back(name);
      schema_ = old < 0 ? value(schema_->AddField(schema_->num_fields(), field), here)
                        : value(schema_->SetField(old, field), here);
      if (keep_others) seen = schema_;
    }
  }
  const SchemaPtr& out_schema() const override { return schema_; }
  Names needs(const Names& wanted) const override {
    Names names = keep_others_ ? wanted : Names();
    for (size_t i = expressions_.size(); i-- > 0;) {
      names.erase(fields_[i]);
      names.merge(expressions_[i].columns());
    }
    return names;
  }
  Batch apply(const Batch& batch) override {
    std::vector<ArrayPtr> columns;
    if (keep_others_) columns = batch->columns();
    for (size_t i = 0; i < expressions_.size(); ++i) {
      const Batch seen =
          keep_others_ ? arrow::RecordBatch::Make(schemas_[i], batch->num_rows(), columns) : batch;
      ArrayPtr column = expressions_[i].evaluate(seen);
      if (targets_[i] < 0)
        columns.push_back(std::move(column));
      else
        columns[static_cast<size_t>(targets_[i])] = std::move(column);
    }
    return arrow::RecordBatch::Make(schema_, batch->num_rows(), columns);
  }

 private:
  bool keep_others_;
  std::vector<BoundExpression> expressions_;
  std::vector<SchemaPtr> schemas_;
  std::vector<std::string> fields_;
  std::vector<int> targets_;  // column that it replaces, or -1
  SchemaPtr schema_;
};

class FlatMap final : public Operator {
 public:
  FlatMap(const flow_steps::FlatMap& step, const SchemaPtr& in, const std::string& place) : place_(place) {
    column_ = want_column(*in, step.column, place);
    if (in->field(column_)->type()->id() != arrow::Type::STRING)
      throw InputError(cat(place, ": column ", step.column, ": got ", type_name(*in->field(column_)->type()),
                           ", want text"));
    by_ = step.by;
    if (by_.starts_with("kmers:")) {
      const std::string digits = by_.substr(6);
      const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), k_);
      if (error != std::errc() || end != digits.data() + digits.size() || k_ < 1)
        throw InputError(cat(place, ": by: got ", by_, ", want kmers:K, K at least 1"));
    } else if (by_.starts_with("split:") && by_.size() > 6) {
      separator_ = by_.substr(6);
    } else if (by_.starts_with("pattern:")) {
      text::TokenizerSpec spec;
      text::set_pre_tokenizer(spec, by_.substr(8), cat(place, ": by"));
      splitter_ = std::make_unique<text::WordSplitter>(text::word_expressions(spec), place);
    } else if (by_ == "lines") {
      separator_ = "\n";
    } else if (by_ != "words") {
      throw InputError(
          cat(place, ": by: got ", by_, ", want words, lines, split:SEPARATOR, kmers:K or pattern:NAME"));
    }
    from_ = step.column;
    as_ = step.as.empty() ? step.column : step.as;
    const auto field = arrow::field(as_, arrow::utf8());
    target_ = column_of(*in, as_);
    schema_ = target_ < 0 ? value(in->AddField(in->num_fields(), field), place) : in;
    if (target_ >= 0 && target_ != column_)
      throw InputError(cat(place, ": as: two columns have the name ", as_));
  }
  const SchemaPtr& out_schema() const override { return schema_; }
  Names needs(const Names& wanted) const override {
    Names names = wanted;
    names.erase(as_);
    names.insert(from_);
    return names;
  }

  Batch apply(const Batch& batch) override {
    const Batch others = target_ < 0 ? batch : value(batch->RemoveColumn(target_), place_);  // no piece of it is kept
    const bool has_others = others->num_columns() > 0;
    TextColumn pieces(place_);
    std::vector<int64_t> rows;
    const auto& texts = static_cast<const arrow::StringArray&>(*batch->column(column_));
    for (int64_t row = 0; row < batch->num_rows(); ++row) {
      if (texts.IsNull(row)) continue;  // no pieces
      cut(texts.GetView(row), [&](std::string_view piece) {
        pieces.add(piece);
        if (has_others) rows.push_back(row);
      });
    }
    std::vector<ArrayPtr> columns;
    if (has_others) columns = take(others, rows, place_)->columns();
    const int64_t size = pieces.size();
    columns.insert(target_ < 0 ? columns.end() : columns.begin() + target_, pieces.finish());
    return arrow::RecordBatch::Make(schema_, size, columns);
  }

 private:
  template <class Give>
  void cut(std::string_view text, const Give& give) {
    if (splitter_) {
      std::string well_formed;
      if (!text::is_utf8(text))
        text = well_formed = text::replace_malformed(text, text::Replace::kEachBeginning);
      splitter_->split(text, scratch_, give);
    } else if (k_ > 0) {
      for (size_t at = 0; at + static_cast<size_t>(k_) <= text.size(); ++at)
        give(text.substr(at, static_cast<size_t>(k_)));
    } else if (!separator_.empty()) {
      while (true) {
        const size_t end = text.find(separator_);
        give(text.substr(0, end));
        if (end == std::string_view::npos) return;
        text.remove_prefix(end + separator_.size());
      }
    } else {
      const auto is_white = [](char c) { return c == ' ' || (c >= '\t' && c <= '\r'); };
      for (size_t at = 0;;) {
        while (at < text.size() && is_white(text[at])) ++at;
        if (at == text.size()) return;
        const size_t begin = at;
        while (at < text.size() && !is_white(text[at])) ++at;
        give(text.substr(begin, at - begin));
      }
    }
  }

  std::string place_, from_, as_, by_, separator_;
  int64_t k_ = 0;
  std::unique_ptr<text::WordSplitter> splitter_;
  text::WordSplitter::Scratch scratch_;
  int column_, target_;
  SchemaPtr schema_;
};

class Map final : public Operator {
 public:
  Map(const flow_steps::Map& step, const SchemaPtr& in, const std::string& place)
      : step_(step), schema_(step.schema ? step.schema : in), place_(place) {
    for (const std::string& name : names_of(*in)) takes_.insert(name);
    if (!step.function) throw InputError(cat(place, ": got no function"));
  }
  const SchemaPtr& out_schema() const override { return schema_; }
  Names needs(const Names&) const override { return takes_; }
  Batch apply(const Batch& batch) override {
    Batch result;
    try {
      result = step_.function(batch);
    } catch (const Error&) {
      throw;
    } catch (...) {
      throw JobError(cat(place_, " - the function threw: ", describe_exception()));
    }
    if (!result)
      throw JobError(cat(
          place_, " - the function gave no batch; an empty one is arrow::RecordBatch::MakeEmpty(schema)"));
    if (!result->schema()->Equals(*schema_, false))
      throw JobError(cat(place_, " - the function gave other columns: got ",
                         join(names_of(*result->schema()), ", "), ", want ", join(names_of(*schema_), ", "),
                         " with the types of the schema"));
    return result;
  }

 private:
  flow_steps::Map step_;
  Names takes_;
  SchemaPtr schema_;
  std::string place_;
};

/// A row is kept by its place in the input: the same for any number of devices.
class Sample final : public Operator {
 public:
  Sample(const flow_steps::Sample& step, const SchemaPtr& in, const std::string& place)
      : step_(step), schema_(in), place_(place) {
    if (!(step.fraction >= 0 && step.fraction <= 1))
      throw InputError(cat(place, ": fraction: got ", step.fraction, ", want 0 to 1"));
  }
  const SchemaPtr& out_schema() const override { return schema_; }
  Names needs(const Names& wanted) const override { return wanted; }
  void begin_part(int64_t part) override { part_ = static_cast<uint64_t>(part), row_ = 0; }
  Batch apply(const Batch& batch) override {
    std::vector<int64_t> kept;
    for (int64_t row = 0; row < batch->num_rows(); ++row, ++row_)
      if (random_unit(step_.seed, part_, row_) < step_.fraction) kept.push_back(row);
    return take(batch, kept, place_);
  }

 private:
  flow_steps::Sample step_;
  SchemaPtr schema_;
  std::string place_;
  uint64_t part_ = 0, row_ = 0;
};

}  // namespace

std::unique_ptr<Operator> make_operator(const FlowStep& step, const SchemaPtr& in) {
  const std::string& place = step.place;
  if (const auto* filter = std::get_if<flow_steps::Filter>(&step.what))
    return std::make_unique<Filter>(*filter, in, place);
  if (const auto* select = std::get_if<flow_steps::Select>(&step.what))
    return std::make_unique<Columns>(select->columns, false, in, place);
  if (const auto* more = std::get_if<flow_steps::WithColumn>(&step.what))
    return std::make_unique<Columns>(more->columns, true, in, place);
  if (const auto* flat = std::get_if<flow_steps::FlatMap>(&step.what))
    return std::make_unique<FlatMap>(*flat, in, place);
  if (const auto* map = std::get_if<flow_steps::Map>(&step.what))
    return std::make_unique<Map>(*map, in, place);
  if (const auto* sample = std::get_if<flow_steps::Sample>(&step.what))
    return std::make_unique<Sample>(*sample, in, place);
  if (const auto* split = std::get_if<flow_steps::Split>(&step.what)) return make_split(*split, in, place);
  return nullptr;
}

}  // namespace shoal::flow
