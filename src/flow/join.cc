// join: the right side is held in memory by key, the left side streams by; a row of the left meets its rows
// of the right in the order of the right's input, so rows keep the order of the left. However often one key
// is there on the left, nothing is gathered for it.
#include <arrow/compute/api.h>

#include <algorithm>

#include "base/text.h"
#include "flow/group_table.h"
#include "flow/key.h"
#include "flow/operators.h"
#include "shoal/error.h"

namespace shoal::flow {
namespace {

class Join final : public Operator {
 public:
  Join(const FlowJoin& step, const SchemaPtr& in, int64_t memory_bytes, const std::string& place)
      : step_(step),
        place_(place),
        memory_bytes_(memory_bytes),
        source_(step.right, int64_t{1} << 25, cat(place, ", right")),
        left_(in, key_columns(step.on), place),
        right_(source_.schema(), key_columns(step.on), cat(place, ", right")) {
    if (step.kind != "inner" && step.kind != "left")
      throw InputError(cat(place, ": kind: got ", step.kind, ", want inner or left"));
    if (step.on.empty())
      throw InputError(cat(place, ": on: got no column, want at least one that both have"));
    for (size_t c = 0; c < step.on.size(); ++c)
      if (left_.kinds()[c] != right_.kinds()[c])
        throw InputError(cat(place, ": on: column ", step.on[c], " is a ", left_.kinds()[c],
                             " on the left and a ", right_.kinds()[c],
                             " on the right; make them alike first"));
    arrow::FieldVector fields = in->fields();
    for (int c = 0; c < source_.schema()->num_fields(); ++c) {
      const auto& field = source_.schema()->field(c);
      if (std::find(step.on.begin(), step.on.end(), field->name()) != step.on.end()) continue;
      for (const auto& other : in->fields())
        if (other->name() == field->name())
          throw InputError(cat(place, ": both sides have a column ", field->name(),
                               "; name it otherwise on the left, by select"));
      fields.push_back(field);
      right_columns_.push_back(c);
    }
    schema_ = arrow::schema(fields);
  }
  const SchemaPtr& out_schema() const override { return schema_; }

  Batch apply(const Batch& batch) override {
    if (!rows_) load();
    const Keys keys = left_.encode(*batch);
    std::vector<int64_t> left_rows;
    arrow::Int64Builder right_rows;
    for (int64_t row = 0; row < keys.size(); ++row) {
      const int64_t group = keys.has_null(row) ? -1 : table_.find(keys[row]);
      if (group < 0) {
        if (step_.kind == "left") left_rows.push_back(row), require(right_rows.AppendNull(), place_);
        continue;
      }
      for (int64_t other = first_[static_cast<size_t>(group)]; other >= 0;
           other = next_[static_cast<size_t>(other)])
        left_rows.push_back(row), require(right_rows.Append(other), place_);
    }
    std::vector<ArrayPtr> columns = take(batch, left_rows, place_)->columns();
    const ArrayPtr indices = value(right_rows.Finish(), place_);
    for (const int c : right_columns_)
      columns.push_back(value(arrow::compute::Take(*rows_->column(c), *indices), place_));
    return arrow::RecordBatch::Make(schema_, static_cast<int64_t>(left_rows.size()), columns);
  }

 private:
  void load() {
    std::vector<Batch> batches;
    int64_t bytes = 0;
    BadRecords bad = source_.policy();
    for (const SourcePart& part : source_.parts()) {
      for (const Segment& segment : part.segments) {
        const auto reader = source_.open(segment, bad);
        while (Batch batch = reader->next()) {
          bytes += num_bytes(*batch);
          if (bytes > memory_bytes_)
            throw InputError(
                cat(place_, ": the right side takes more than ",
                    human_bytes(static_cast<uint64_t>(memory_bytes_)),
                    ", an eighth of memory: put the larger table on the left, or set memory higher"));
          batches.push_back(std::move(batch));
        }
      }
    }
    rows_ = concatenate(source_.schema(), batches, place_);
    const Keys keys = right_.encode(*rows_);
    next_.assign(static_cast<size_t>(keys.size()), -1);
    for (int64_t row = keys.size() - 1; row >= 0;
         --row) {  // from the back: the first row ends up first in its chain
      if (keys.has_null(row)) continue;
      const size_t group = static_cast<size_t>(table_.find_or_add(keys[row]));
      first_.resize(static_cast<size_t>(table_.size()), -1);
      next_[static_cast<size_t>(row)] = first_[group];
      first_[group] = row;
    }
  }

  FlowJoin step_;
  std::string place_;
  int64_t memory_bytes_;
  Source source_;
  KeyEncoder left_, right_;
  std::vector<int> right_columns_;
  SchemaPtr schema_;
  Batch rows_;  // of the right
  GroupTable table_;
  std::vector<int64_t> first_, next_;  // rows of the right with one key, as chains
};

}  // namespace

std::unique_ptr<Operator> make_join(const FlowJoin& step, const SchemaPtr& in, int64_t memory_bytes,
                                    const std::string& place) {
  return std::make_unique<Join>(step, in, memory_bytes, place);
}

}  // namespace shoal::flow
