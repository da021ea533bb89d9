// A join whose right side need not fit into memory. Both sides become runs by (columns joined on, place in
// the input); a partition of both meets, and what it gives is sorted back into the order of the left:
//
//   stage A    left rows        -> runs by (key, place)       join_side()
//   stage B    the right source -> runs by (key, place)       join_side()
//   stage C    a partition of both -> rows -> runs by place   MergeJoin, back_to_order()
//   stage D    rows in the order of the left, each with its matches in the order of the right; then rows of
//   the
//              right that nothing equals, in theirs
//
// A key with nearly all rows of the left is cut like any other place: each partition reads the right rows of
// the keys that it has a share of.
#pragma once

#include <functional>
#include <memory>

#include "flow/exchange.h"
#include "flow/join_shape.h"
#include "flow/runs.h"

namespace shoal::flow {

/// The runs of one side. It is never reduced by itself. Of the left a key may be cut, of the right not.
std::unique_ptr<Exchange> join_side(const JoinShape&, bool is_left, const SchemaPtr&,
                                    const std::string& place);

/// Rows of a MergeJoin back in the order of the left, without the columns that say so.
std::unique_ptr<Exchange> back_to_order(const JoinShape&, const std::string& place);

/// Belongs to one thread.
class MergeJoin {
 public:
  /// `memory_bytes` is what the rows of the right with one key may take.
  MergeJoin(JoinShape, int64_t memory_bytes, const std::string& place);
  /// What it gives: the shape's columns, and two of places.
  const SchemaPtr& out_schema() const { return schema_; }
  /// What of the right the rows of a partition may meet.
  KeyRange right_range(const KeyRange&) const;
  /// Both by (key, place): the left rows of the range, and the right rows of right_range().
  void meet(const SortedRows& left, const SortedRows& right, const KeyRange&,
            const std::function<void(const Batch&)>& give) const;

 private:
  struct Pairs;
  Batch rows_of(const Pairs&, const SortedRows& left, const SortedRows& right) const;
  bool is_cut(const std::string& end) const;

  JoinShape shape_;
  int64_t memory_bytes_;
  std::string place_;
  SchemaPtr schema_;
};

}  // namespace shoal::flow
