// An exchange is a step that needs rows of other parts beside each other: sort, group_by, distinct, window.
// All work alike:
//
//   a part's rows become runs, each sorted by key         RunMaker
//   the keys of all runs are cut into partitions          partitions.h
//   a partition's rows, in order of (key, run), become what the step gives      Exchange::reduce
//
// The step decides what a run holds (group_by: sums so far) and whether rows of one key must stay together.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "flow/arrow.h"
#include "flow/key.h"
#include "shoal/flow.h"

namespace shoal::flow {

/// Rows in order of their keys; a key for each row, which lies in what `owner` holds.
struct SortedRows {
  Batch rows;
  std::vector<std::string_view> keys;
  std::shared_ptr<const void> owner;
};

/// Of one part. Belongs to one thread.
class RunMaker {
 public:
  virtual ~RunMaker() = default;
  virtual void add(const Batch&) = 0;
  /// Bytes that it holds.
  virtual int64_t bytes() const = 0;
  /// All rows since the last one.
  virtual SortedRows finish() = 0;
};

/// Immutable; belongs to one thread nevertheless, as Arrow's bound expressions do.
class Exchange {
 public:
  virtual ~Exchange() = default;
  virtual const SchemaPtr& out_schema() const = 0;
  /// As Operator::needs().
  virtual Names needs(const Names& wanted) const = 0;
  /// Whether runs hold fewer rows the more rows they are made of: then larger parts are less work.
  virtual bool shrinks() const { return false; }
  virtual const SchemaPtr& run_schema() const = 0;
  virtual std::unique_ptr<RunMaker> make_runs(int64_t part) const = 0;
  /// Rows of one key stand in the order of their runs.
  virtual Batch reduce(const SortedRows&, bool is_only_partition) const = 0;
  /// The part of a key that must not be divided among partitions; all of a key: it may be cut anywhere.
  virtual size_t whole_prefix(std::string_view key) const = 0;
};

std::unique_ptr<Exchange> make_sort(const flow_steps::Sort&, const SchemaPtr&, const std::string& place);
std::unique_ptr<Exchange> make_distinct(const flow_steps::Distinct&, const SchemaPtr&,
                                        const std::string& place);
std::unique_ptr<Exchange> make_shuffle(const flow_steps::Shuffle&, const SchemaPtr&, const std::string& place);
std::unique_ptr<Exchange> make_window(const flow_steps::Window&, const SchemaPtr&, const std::string& place);
std::unique_ptr<Exchange> make_group_by(const flow_steps::GroupBy&, const SchemaPtr&,
                                        const std::string& place);

/// "sum(x)": {"sum", "x"}; "count()": {"count", ""}. Throws InputError "place: ...".
std::pair<std::string, std::string> parse_call(const std::string& text, const std::string& place);

/// Keeps rows as they are, under (key, place in the input), so that no two keys are equal. What sort, window,
/// shuffle and joins make runs by.
std::unique_ptr<RunMaker> collect_rows(const KeyEncoder&, const SchemaPtr&, int64_t part,
                                       const std::string& place);
inline constexpr int kRowBits = 40;  // of a place: the part above, the row in the part below

}  // namespace shoal::flow
