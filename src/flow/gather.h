// Rows of several batches to one batch, in any order: one copy, where to concatenate and to take would be
// two.
#pragma once

#include <string>
#include <vector>

#include "flow/arrow.h"

namespace shoal::flow {

struct RowPlace {
  int32_t batch, row;
};

inline constexpr int64_t kNoRow = -1;
/// The rows with these numbers, in this order; null for kNoRow.
ArrayPtr take_or_null(const ArrayPtr& column, const std::vector<int64_t>& rows, const std::string& place);

/// The rows at these places, in this order. The batches have the schema.
Batch gather(const SchemaPtr&, const std::vector<Batch>&, const std::vector<RowPlace>& rows,
             const std::string& place);

}  // namespace shoal::flow
