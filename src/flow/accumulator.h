// What group_by keeps for each group: one accumulator an aggregate, whose small states stand in GroupStates. A run's
// groups leave it as partial columns, which others merge.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "flow/arrow.h"
#include "flow/group_states.h"

namespace shoal::flow {

class Accumulator {
 public:
  virtual ~Accumulator() = default;
  /// There are this many groups from here on; new ones are empty. For what does not stand in GroupStates.
  virtual void resize(int64_t) {}
  /// There is none any more; memory is kept for the next.
  virtual void clear() {}
  /// Rows of input; null for count() of rows. groups[row] is the row's group.
  virtual void add(const arrow::Array* column, const std::vector<int64_t>& groups) = 0;
  /// The partial results of rows [begin, end), all of one group, in order of their runs.
  virtual void merge(const std::vector<const arrow::Array*>& partial, int64_t begin, int64_t end,
                     int64_t group) = 0;
  /// Of all groups in this order.
  virtual std::vector<ArrayPtr> partial(const std::vector<int64_t>& order) const = 0;
  virtual ArrayPtr final(const std::vector<int64_t>& order) const = 0;
  /// Bytes it holds beyond a few for each group.
  virtual int64_t extra_bytes() const { return 0; }
};

struct AggregateKind {
  std::vector<std::shared_ptr<arrow::DataType>> partial_types;
  std::shared_ptr<arrow::DataType> type;
};

/// Types of a call on a column (null type: none). Throws InputError "place: ..." for what does not go
/// together.
AggregateKind aggregate_kind(const std::string& function, const std::shared_ptr<arrow::DataType>& column,
                             const std::string& place);
/// `fraction` is approx_quantile's. Adds to the columns of `states`, which outlive it. REQUIRES: aggregate_kind() did not
/// throw.
std::unique_ptr<Accumulator> make_accumulator(const std::string& function,
                                              const std::shared_ptr<arrow::DataType>& column, double fraction,
                                              const std::string& place, GroupStates& states);

/// x[0] + ... + x[n-1] by the fixed tree: [0, n) splits at the largest power of two below n.
double tree_sum(const double* x, int64_t n);

}  // namespace shoal::flow
