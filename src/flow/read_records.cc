// Text, JSONL, CSV and TSV: a line is a record.
#include <algorithm>

#include "base/text.h"
#include "flow/lines.h"
#include "flow/readers.h"
#include "flow/records.h"
#include "flow/rows.h"
#include "shoal/error.h"

namespace shoal::flow {
namespace {

constexpr int kGuessedFrom = 1000;  // records

char separator_of(Format format) { return format == Format::kTsv ? '\t' : ','; }

class RecordReader final : public Reader {
 public:
  RecordReader(const SourceFile& file, const Segment& segment, Format format, const FlowRead& spec,
               const SchemaPtr& schema, const SchemaPtr& kept, BadRecords& bad)
      : file_(file),
        end_(segment.end),
        format_(format),
        bad_(bad),
        lines_(file, segment.begin),
        rows_(kept),
        schema_(schema) {
    for (const auto& field : schema->fields())
      columns_.push_back({field->name(), cell_type(*field->type()), kept->GetFieldIndex(field->name())});
    const bool is_csv = format == Format::kCsv || format == Format::kTsv;
    std::string_view line;
    if (is_csv && spec.header && segment.begin == 0 && lines_.next(line)) check_header(line);
  }

  Batch next() override {
    std::string_view line;
    while (!ended_ && !rows_.full()) {
      if (!lines_.next(line) || lines_.begin() >= end_) {
        ended_ = true;
        lines_.expect_unchanged();
        break;
      }
      if (line.empty() && format_ != Format::kText) continue;
      const std::string wrong = is_utf8(line) ? parse(line) : "not UTF-8";
      if (wrong.empty()) {
        rows_.commit();
      } else {
        rows_.clear();
        const int64_t number = bad_.stop ? Lines::number_at(file_, lines_.begin()) : 0;
        bad_.add(file_.path, number, lines_.begin(), wrong, line);
      }
    }
    return rows_.num_rows() > 0 ? rows_.finish() : nullptr;
  }

 private:
  struct Column {
    std::string name;
    CellType type;
    int place;  // among those that are kept; -1: none
  };

  void check_header(std::string_view line) {
    if (line.starts_with("\xef\xbb\xbf")) line.remove_prefix(3);
    size_t count = 0;
    split_csv(line, separator_of(format_), cells_, count);
    bool equal = count == columns_.size();
    for (size_t c = 0; equal && c < count; ++c) equal = cells_[c].text() == columns_[c].name;
    if (!equal)
      throw InputError(cat(file_.path, ":1 - header: got ", std::string(line.substr(0, 100)), ", want ",
                           join(names_of(*schema_), std::string(1, separator_of(format_))),
                           " as in the first file"));
  }

  std::string parse(std::string_view line) {
    if (format_ == Format::kText) {
      rows_.set_text(0, line);
      return "";
    }
    return format_ == Format::kJsonl ? parse_json(line) : parse_csv(line);
  }

  // What is not kept may be wrong all the same.
  std::string put(const Column& column, const Cell& cell) {
    if (cell.is_null) return "";
    const std::string_view text = cell.text();
    if (column.place >= 0 ? rows_.set(column.place, text) : is_of_type(text, column.type)) return "";
    return cat("column ", column.name, ": got ", text.substr(0, 40), ", want ", wanted(column.type));
  }

  std::string parse_csv(std::string_view line) {
    size_t count = 0;
    std::string wrong = split_csv(line, separator_of(format_), cells_, count);
    if (wrong.empty() && count != columns_.size())
      wrong = cat("got ", count, " cells, want ", columns_.size());
    for (size_t c = 0; wrong.empty() && c < count; ++c) wrong = put(columns_[c], cells_[c]);
    return wrong;
  }

  std::string parse_json(std::string_view line) {
    size_t count = 0;
    std::string wrong = split_json(line, members_, count);
    for (size_t m = 0; wrong.empty() && m < count; ++m) {
      const std::string_view name = members_[m].name.text();
      auto column = columns_.begin() + static_cast<std::ptrdiff_t>(std::min(m, columns_.size()));
      if (column == columns_.end() || column->name != name)  // most often they stand in the order of the columns
        column = std::ranges::find(columns_, name, &Column::name);
      if (column != columns_.end()) wrong = put(*column, members_[m].value);
    }
    return wrong;
  }

  SourceFile file_;
  int64_t end_;
  Format format_;
  BadRecords& bad_;
  Lines lines_;
  RowBuilder rows_;
  SchemaPtr schema_;
  std::vector<Cell> cells_;
  std::vector<Column> columns_;
  std::vector<Member> members_;
  bool ended_ = false;
};

/// The narrowest type that holds all that was seen: int, float or bool, else text.
class Guess {
 public:
  void see(const Cell& cell, bool quotes_are_text) {
    if (cell.is_null) return;
    seen_ = true;
    int64_t whole;
    double real;
    bool truth;
    const bool quoted = quotes_are_text && cell.is_quoted;
    can_be_int_ = can_be_int_ && !quoted && parse_cell(cell.text(), whole);
    can_be_float_ = can_be_float_ && !quoted && parse_cell(cell.text(), real);
    can_be_bool_ = can_be_bool_ && !quoted && parse_cell(cell.text(), truth);
  }
  CellType type() const {
    if (!seen_) return CellType::kText;
    return can_be_int_     ? CellType::kInt
           : can_be_float_ ? CellType::kFloat
           : can_be_bool_  ? CellType::kBool
                           : CellType::kText;
  }

 private:
  bool seen_ = false, can_be_int_ = true, can_be_float_ = true, can_be_bool_ = true;
};

using NameList = std::vector<std::string>;

void see_json(Lines& lines, NameList& names, std::vector<Guess>& guesses) {
  std::vector<Member> members;
  std::string_view line;
  for (int n = 0; n < kGuessedFrom && lines.next(line); ++n) {
    size_t count = 0;
    if (!split_json(line, members, count).empty()) continue;  // the reader says so later
    for (size_t m = 0; m < count; ++m) {
      auto at = std::find(names.begin(), names.end(), members[m].name.text());
      if (at == names.end()) at = names.insert(names.end(), std::string(members[m].name.text()));
      guesses.resize(names.size());
      guesses[static_cast<size_t>(at - names.begin())].see(members[m].value, true);
    }
  }
}

void see_csv(Lines& lines, Format format, bool header, NameList& names, std::vector<Guess>& guesses) {
  std::vector<Cell> cells;
  std::string_view line;
  size_t count = 0;
  for (int n = 0; n < kGuessedFrom + 1 && lines.next(line); ++n) {
    if (n == 0 && line.starts_with("\xef\xbb\xbf")) line.remove_prefix(3);
    if (!split_csv(line, separator_of(format), cells, count).empty()) continue;
    if (n == 0) {
      for (size_t c = 0; c < count; ++c) names.push_back(header ? std::string(cells[c].text()) : cat("column_", c + 1));
      guesses.resize(count);
      if (header) continue;
    }
    for (size_t c = 0; c < std::min(count, guesses.size()); ++c) guesses[c].see(cells[c], false);
  }
}

}  // namespace

std::unique_ptr<Reader> read_records(const SourceFile& file, const Segment& segment, Format format,
                                     const FlowRead& spec, const SchemaPtr& schema, const SchemaPtr& kept,
                                     BadRecords& bad) {
  return std::make_unique<RecordReader>(file, segment, format, spec, schema, kept, bad);
}

SchemaPtr schema_of_records(const SourceFile& file, Format format, const FlowRead& spec,
                            const std::string& place) {
  if (format == Format::kText) return arrow::schema({arrow::field("text", arrow::utf8())});
  if (!spec.columns.empty()) {
    arrow::FieldVector fields;
    for (const auto& [name, type] : spec.columns)
      fields.push_back(arrow::field(name, arrow_type(cell_type(type, cat(place, ": columns: ", name)))));
    return arrow::schema(fields);
  }
  Lines lines(file, 0);
  NameList names;
  std::vector<Guess> guesses;
  if (format == Format::kJsonl)
    see_json(lines, names, guesses);
  else
    see_csv(lines, format, spec.header, names, guesses);
  if (names.empty()) throw InputError(cat(place, ": ", file.path, " shows no columns; name them in columns"));
  arrow::FieldVector fields;
  for (size_t i = 0; i < names.size(); ++i)
    fields.push_back(arrow::field(names[i], arrow_type(guesses[i].type())));
  return arrow::schema(fields);
}

}  // namespace shoal::flow
