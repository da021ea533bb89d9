// What a join gives, and whether its two sides fit each other: the same for the join that holds its right
// side in memory (join.cc) and for the one that meets it on the disk (merge_join.h).
#pragma once

#include <string>
#include <vector>

#include "flow/arrow.h"
#include "flow/key.h"
#include "flow/source.h"
#include "shoal/flow.h"

namespace shoal::flow {

struct JoinShape {
  /// Throws InputError "place: ...".
  JoinShape(const FlowJoin&, const SchemaPtr& left, const SchemaPtr& right, const std::string& place);

  /// The columns of the left, then those of the right that it is not joined on.
  SchemaPtr schema;
  int num_left;
  std::vector<int> right_columns;
  bool keeps_left, keeps_right;  // rows that nothing on the other side equals
  KeyEncoder left, right;

  Names needs_of_left(const Names& wanted) const;

 private:
  std::vector<std::string> on_;
};

/// The right side, in parts of one size. Throws InputError.
Source right_source(const FlowJoin&, const std::string& place);
/// Whether the right side is met on the disk: for kinds that keep its rows, and where it takes more than
/// `memory_bytes`, as far as its files tell.
bool meets_on_disk(const FlowJoin&, const Source& right, int64_t memory_bytes);

}  // namespace shoal::flow
