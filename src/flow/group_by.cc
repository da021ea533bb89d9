// group_by: a run is the groups of some rows with their sums so far, in order of key; the same for what runs
// become.
#include <algorithm>

#include "base/text.h"
#include "flow/accumulator.h"
#include "flow/exchange.h"
#include "flow/group_table.h"
#include "flow/key_order.h"
#include "flow/rows.h"
#include "flow/spare.h"
#include "shoal/error.h"

namespace shoal::flow {
namespace {

struct Column {
  std::string function;
  int index = -1;  // of its argument
  std::shared_ptr<arrow::DataType> argument;
  double fraction = 0;  // of approx_quantile
  std::string place;
  int first_partial = 0;
  size_t num_partials = 0;
};

/// "x, 0.5": 0.5, and "x" is left.
double take_fraction(std::string& argument, const std::string& place) {
  const size_t comma = argument.rfind(',');
  double fraction = -1;
  if (comma != std::string::npos) {
    const size_t begin = std::min(argument.find_first_not_of(' ', comma + 1), argument.size());
    if (!parse_cell(std::string_view(argument).substr(begin), fraction)) fraction = -1;
  }
  if (!(fraction >= 0 && fraction <= 1))
    throw InputError(cat(place, ": got approx_quantile(", argument,
                         "), want a column and 0 to 1, as in approx_quantile(x, 0.5)"));
  argument.resize(std::min(argument.find_last_not_of(' ', comma - 1) + 1, comma));
  return fraction;
}

/// The groups of some rows.
class Groups {
 public:
  explicit Groups(const std::vector<Column>& columns) : columns_(columns) {
    for (const Column& column : columns)
      accumulators_.push_back(
          make_accumulator(column.function, column.argument, column.fraction, column.place, states_));
  }
  int64_t find_or_add(std::string_view key) { return table_.find_or_add(key); }
  /// Of rows [begin, end).
  void find_or_add_all(const Keys& keys, int64_t begin, int64_t end, std::vector<int64_t>& groups) {
    table_.find_or_add_all(keys, begin, end, groups);
  }
  void resize() {
    states_.resize(table_.size());
    for (auto& accumulator : accumulators_) accumulator->resize(table_.size());
  }
  Accumulator& accumulator(size_t i) { return *accumulators_[i]; }
  int64_t size() const { return table_.size(); }
  void clear() {
    table_.clear();
    states_.clear();
    for (auto& accumulator : accumulators_) accumulator->clear();
  }
  int64_t bytes() const {
    int64_t bytes = table_.bytes() + table_.size() * 32 * static_cast<int64_t>(columns_.size());
    for (const auto& accumulator : accumulators_) bytes += accumulator->extra_bytes();
    return bytes;
  }
  /// The groups by key.
  std::vector<int64_t> order() const {
    std::vector<std::string_view> keys;
    for (int64_t group = 0; group < size(); ++group) keys.push_back(key(group));
    return sorted_rows(keys);
  }
  std::string_view key(int64_t group) const { return table_.key(group); }

 private:
  const std::vector<Column>& columns_;
  GroupTable table_;
  GroupStates states_;
  std::vector<std::unique_ptr<Accumulator>> accumulators_;
};

class GroupRuns final : public RunMaker {
 public:
  GroupRuns(const KeyEncoder& encoder, const std::vector<Column>& columns, SchemaPtr run_schema,
            Spare<Groups>& spare)
      : encoder_(encoder), columns_(columns), run_schema_(std::move(run_schema)), spare_(spare) {}

  void add(const Batch& batch) override {
    if (batch->num_rows() == 0) return;
    if (!groups_) groups_ = spare_.take();
    const Keys keys = encoder_.encode(*batch);
    constexpr int64_t kBlock = 2048;  // rows whose groups' states stay in the cache from one aggregate to the next
    for (int64_t begin = 0; begin < batch->num_rows(); begin += kBlock) {
      const int64_t end = std::min(begin + kBlock, batch->num_rows());
      groups_->find_or_add_all(keys, begin, end, group_of_);
      groups_->resize();
      for (size_t c = 0; c < columns_.size(); ++c) {
        const int index = columns_[c].index;
        const ArrayPtr column = index < 0 ? nullptr : batch->column(index)->Slice(begin, end - begin);
        groups_->accumulator(c).add(column.get(), group_of_);
      }
    }
  }

  int64_t bytes() const override { return groups_ ? groups_->bytes() : 0; }

  SortedRows finish() override {
    if (!groups_) groups_ = spare_.take();
    const std::vector<int64_t> order = groups_->order();
    std::vector<std::string_view> keys;
    for (const int64_t group : order) keys.push_back(groups_->key(group));
    std::vector<ArrayPtr> arrays;
    for (size_t c = 0; c < columns_.size(); ++c)
      for (ArrayPtr& partial : groups_->accumulator(c).partial(order)) arrays.push_back(std::move(partial));
    return {arrow::RecordBatch::Make(run_schema_, static_cast<int64_t>(order.size()), arrays),
            std::move(keys), std::move(groups_)};
  }

 private:
  const KeyEncoder& encoder_;
  const std::vector<Column>& columns_;
  SchemaPtr run_schema_;
  Spare<Groups>& spare_;
  std::shared_ptr<Groups> groups_;  // none before the first row
  std::vector<int64_t> group_of_;   // of a batch's rows
};

class GroupByExchange final : public Exchange {
 public:
  GroupByExchange(const flow_steps::GroupBy& step, SchemaPtr schema, std::string place)
      : place_(std::move(place)), encoder_(schema, key_columns(step.by), place_) {
    arrow::FieldVector out, run;
    for (const std::string& name : step.by) {
      const int index = want_column(*schema, name, place_);
      out.push_back(schema->field(index));
      needs_.insert(name);
    }
    for (const FlowAggregate& aggregate : step.aggregates) {
      Column column;
      column.place = cat(place_, ", ", aggregate.name);
      std::string argument;
      std::tie(column.function, argument) = parse_call(aggregate.call, column.place);
      if (column.function == "approx_quantile") column.fraction = take_fraction(argument, column.place);
      if (!argument.empty()) {
        column.index = want_column(*schema, argument, column.place);
        column.argument = schema->field(column.index)->type();
        needs_.insert(argument);
      }
      const AggregateKind kind = aggregate_kind(column.function, column.argument, column.place);
      column.first_partial = static_cast<int>(run.size());
      column.num_partials = kind.partial_types.size();
      for (const auto& type : kind.partial_types)
        run.push_back(arrow::field(cat("partial_", run.size()), type));
      for (const auto& field : out)
        if (field->name() == aggregate.name)
          throw InputError(cat(column.place, ": two columns have this name"));
      out.push_back(arrow::field(aggregate.name, kind.type));
      columns_.push_back(column);
    }
    if (out.empty()) throw InputError(cat(place_, ": got neither columns nor aggregates, want at least one"));
    out_schema_ = arrow::schema(out);
    run_schema_ = arrow::schema(run);
  }

  const SchemaPtr& out_schema() const override { return out_schema_; }
  const SchemaPtr& run_schema() const override { return run_schema_; }
  Names needs(const Names&) const override { return needs_; }
  bool shrinks() const override { return true; }
  std::unique_ptr<RunMaker> make_runs(int64_t) const override {
    return std::make_unique<GroupRuns>(encoder_, columns_, run_schema_, spare_);
  }
  size_t whole_prefix(std::string_view key) const override { return key.size(); }

  Batch reduce(const SortedRows& sorted, bool is_only_partition) const override {
    spare_.release();  // no more runs are made
    Groups groups(columns_);
    if (encoder_.num_columns() == 0 && is_only_partition)
      groups.find_or_add("");  // of no rows too there is one sum
    std::vector<int64_t> begins;
    const int64_t rows = sorted.rows->num_rows();
    std::vector<std::string_view> keys;
    for (int64_t row = 0; row < rows; ++row) {
      const std::string_view key = sorted.keys[static_cast<size_t>(row)];
      if (row > 0 && key == keys.back()) continue;
      begins.push_back(row);
      keys.push_back(key);
      groups.find_or_add(key);
    }
    begins.push_back(rows);
    groups.resize();
    for (size_t c = 0; c < columns_.size(); ++c) {
      std::vector<const arrow::Array*> partials;
      for (size_t p = 0; p < columns_[c].num_partials; ++p)
        partials.push_back(sorted.rows->column(columns_[c].first_partial + static_cast<int>(p)).get());
      for (size_t g = 0; g + 1 < begins.size(); ++g)
        groups.accumulator(c).merge(partials, begins[g], begins[g + 1], static_cast<int64_t>(g));
    }
    std::vector<int64_t> order;
    for (int64_t group = 0; group < groups.size(); ++group) order.push_back(group);
    std::vector<ArrayPtr> arrays = encoder_.decode(keys);
    for (size_t c = 0; c < columns_.size(); ++c) arrays.push_back(groups.accumulator(c).final(order));
    return arrow::RecordBatch::Make(out_schema_, groups.size(), arrays);
  }

 private:
  std::string place_;
  KeyEncoder encoder_;
  std::vector<Column> columns_;
  SchemaPtr out_schema_, run_schema_;
  Names needs_;
  mutable Spare<Groups> spare_{[this] { return std::make_unique<Groups>(columns_); }};
};

}  // namespace

std::unique_ptr<Exchange> make_group_by(const flow_steps::GroupBy& step, const SchemaPtr& schema,
                                        const std::string& place) {
  return std::make_unique<GroupByExchange>(step, schema, place);
}

}  // namespace shoal::flow
