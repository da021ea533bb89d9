// The unit in which parameters are owned, updated, hashed and saved (docs/numerics.md, "storage").
#pragma once

#include <algorithm>
#include <cstdint>

namespace shoal {

inline constexpr int64_t kBlockElements = 65'536;
inline constexpr int64_t kAlignment = 64;  // bytes; every address handed to a kernel is a multiple of it

constexpr int64_t num_blocks(int64_t elements) { return (elements + kBlockElements - 1) / kBlockElements; }
constexpr int64_t align_up(int64_t bytes) { return (bytes + kAlignment - 1) / kAlignment * kAlignment; }

/// Half-open range of whole numbers.
struct Range {
  int64_t begin = 0;
  int64_t end = 0;
  constexpr int64_t size() const { return end - begin; }
  constexpr bool empty() const { return end <= begin; }
  constexpr bool contains(Range other) const { return begin <= other.begin && other.end <= end; }
  friend constexpr bool operator==(Range, Range) = default;
};
constexpr Range intersect(Range a, Range b) { return {std::max(a.begin, b.begin), std::min(a.end, b.end)}; }

/// Share `index` of `total` things dealt to `parts` in order; sizes differ by at most one, the larger ones
/// first.
constexpr Range share(int64_t total, int64_t parts, int64_t index) {
  const int64_t base = total / parts, extra = total % parts;
  const int64_t begin = index * base + std::min(index, extra);
  return {begin, begin + base + (index < extra ? 1 : 0)};
}

}  // namespace shoal
