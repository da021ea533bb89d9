// join: the right side is held in memory by key, the left side streams by; a row of the left meets its rows
// of the right in the order of the right's input, so rows keep the order of the left. However often one key
// is there on the left, nothing is gathered for it.
#include <arrow/compute/api.h>

#include "base/text.h"
#include "flow/group_table.h"
#include "flow/join_shape.h"
#include "flow/key.h"
#include "flow/operators.h"
#include "shoal/error.h"

namespace shoal::flow {
namespace {

class Join final : public Operator {
 public:
  Join(const FlowJoin& step, const SchemaPtr& in, int64_t memory_bytes, const std::string& place)
      : place_(place),
        memory_bytes_(memory_bytes),
        source_(right_source(step, place)),
        shape_(step, in, source_.schema(), place) {}
  const SchemaPtr& out_schema() const override { return shape_.schema; }

  Names needs(const Names& wanted) const override { return shape_.needs_of_left(wanted); }

  Batch apply(const Batch& batch) override {
    if (!rows_) load();
    const Keys keys = shape_.left.encode(*batch);
    std::vector<int64_t> left_rows;
    arrow::Int64Builder right_rows;
    for (int64_t row = 0; row < keys.size(); ++row) {
      const int64_t group = keys.has_null(row) ? -1 : table_.find(keys[row]);
      if (group < 0) {
        if (shape_.keeps_left) left_rows.push_back(row), require(right_rows.AppendNull(), place_);
        continue;
      }
      for (int64_t other = first_[static_cast<size_t>(group)]; other >= 0;
           other = next_[static_cast<size_t>(other)])
        left_rows.push_back(row), require(right_rows.Append(other), place_);
    }
    std::vector<ArrayPtr> columns = take(batch, left_rows, place_)->columns();
    const ArrayPtr indices = value(right_rows.Finish(), place_);
    for (const int c : shape_.right_columns)
      columns.push_back(value(arrow::compute::Take(*rows_->column(c), *indices), place_));
    return arrow::RecordBatch::Make(shape_.schema, static_cast<int64_t>(left_rows.size()), columns);
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
            throw InputError(cat(place_, ": the right side takes more than ",
                                 human_bytes(static_cast<uint64_t>(memory_bytes_)),
                                 ", an eighth of memory: its packed files hold more than they seem to: "
                                 "unpack them, or set memory higher"));
          batches.push_back(std::move(batch));
        }
      }
    }
    rows_ = concatenate(source_.schema(), batches, place_);
    const Keys keys = shape_.right.encode(*rows_);
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

  std::string place_;
  int64_t memory_bytes_;
  Source source_;
  JoinShape shape_;
  Batch rows_;  // of the right
  GroupTable table_;
  std::vector<int64_t> first_, next_;  // rows of the right with one key, as chains
};

}  // namespace

Source right_source(const FlowJoin& step, const std::string& place) {
  return Source(step.right, int64_t{1} << 25, cat(place, ", right"));
}

std::unique_ptr<Operator> make_join(const FlowJoin& step, const SchemaPtr& in, int64_t memory_bytes,
                                    const std::string& place) {
  return std::make_unique<Join>(step, in, memory_bytes, place);
}

}  // namespace shoal::flow
