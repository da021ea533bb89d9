// join: the right side is held in memory by key, the left side streams by; a row of the left meets its rows
// of the right in the order of the right's input, so rows keep the order of the left. However often one key
// is there on the left, nothing is gathered for it.
#include "base/text.h"
#include "flow/gather.h"
#include "flow/group_table.h"
#include "flow/join_shape.h"
#include "flow/key.h"
#include "flow/operators.h"
#include "flow/sources.h"
#include "shoal/error.h"

namespace shoal::flow {
namespace {

class Join final : public Operator {
 public:
  Join(const FlowJoin& step, const Sources& right, const SchemaPtr& in, int64_t memory_bytes,
       const std::string& place)
      : place_(place), memory_bytes_(memory_bytes), right_(right), shape_(step, in, right.schema(), place) {}
  const SchemaPtr& out_schema() const override { return shape_.schema; }

  Names needs(const Names& wanted) const override { return shape_.needs_of_left(wanted); }

  Batch apply(const Batch& batch) override {
    if (!rows_) load();
    const Keys keys = shape_.left.encode(*batch);
    table_.find_all(keys, groups_);
    std::vector<int64_t> left_rows, right_rows;
    for (int64_t row = 0; row < keys.size(); ++row) {
      const int64_t group = keys.has_null(row) ? -1 : groups_[static_cast<size_t>(row)];
      if (group < 0) {
        if (shape_.keeps_left) left_rows.push_back(row), right_rows.push_back(kNoRow);
        continue;
      }
      for (int64_t other = first_[static_cast<size_t>(group)]; other >= 0;
           other = next_[static_cast<size_t>(other)])
        left_rows.push_back(row), right_rows.push_back(other);
    }
    std::vector<ArrayPtr> columns = take(batch, left_rows, place_)->columns();
    for (const int c : shape_.right_columns)
      columns.push_back(take_or_null(rows_->column(c), right_rows, place_));
    return arrow::RecordBatch::Make(shape_.schema, static_cast<int64_t>(left_rows.size()), columns);
  }

 private:
  void load() {
    std::vector<Batch> batches;
    int64_t bytes = 0;
    for (int64_t part = 0; part < right_.num_parts(); ++part)
      right_.read(part, [&](const Batch& batch) {
        bytes += num_bytes(*batch);
        if (bytes > memory_bytes_)
          throw InputError(cat(place_, ": the right side takes more than ",
                               human_bytes(static_cast<uint64_t>(memory_bytes_)),
                               ", an eighth of memory: its packed files hold more than they seem to: "
                               "unpack them, or set memory higher"));
        batches.push_back(batch);
      });
    rows_ = concatenate(right_.schema(), batches, place_);
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
  const Sources& right_;
  JoinShape shape_;
  Batch rows_;  // of the right
  GroupTable table_;
  std::vector<int64_t> first_, next_;  // rows of the right with one key, as chains
  std::vector<int64_t> groups_;        // of a batch's rows
};

}  // namespace

Source right_source(const FlowJoin& step, const std::string& place) {
  return Source(step.right, int64_t{1} << 25, cat(place, ", right"));
}

std::unique_ptr<Operator> make_join(const FlowJoin& step, const Sources& right, const SchemaPtr& in,
                                    int64_t memory_bytes, const std::string& place) {
  return std::make_unique<Join>(step, right, in, memory_bytes, place);
}

}  // namespace shoal::flow
