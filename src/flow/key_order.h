// Rows in order of their keys.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

namespace shoal::flow {

/// The numbers of the keys in order; equal keys keep theirs.
std::vector<int64_t> sorted_rows(const std::vector<std::string_view>& keys);

}  // namespace shoal::flow
