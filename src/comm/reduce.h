// Sums in one fixed order: the tree over [0, n) that splits at the largest power of two below n
// (docs/numerics.md, "one tree"). The bits of a sum depend on n alone, never on who holds which leaves.
#pragma once

#include <cstddef>
#include <functional>
#include <span>
#include <vector>

#include "base/blocks.h"

namespace shoal::comm {

enum class DType { kF32, kBF16, kF64 };
size_t element_bytes(DType);

/// Where the tree over [range) splits: range.begin + the largest power of two below its size. REQUIRES: size
/// >= 2.
int64_t tree_split(Range range);

/// The maximal subtrees of the tree over [0, n) that lie inside `held`, in order: what a device that holds
/// these leaves keeps. At most 2 ceil(log2 n) ranges.
std::vector<Range> tree_roots(int64_t n, Range held);

/// A partial sum: the subtree over `leaves`, as an array.
struct Root {
  Range leaves;
  const std::byte* data;
  DType dtype;  // kF32 or kBF16; bf16 is widened before it is added
};

/// out[i] = the sum over the tree on [0, n) of the roots' element i, added in fp32 in tree order.
/// `out` may be the array of one of the fp32 roots; it overlaps no other way.
/// REQUIRES: the roots are subtrees that cover [0, n) once, in order, else BrokenInvariant; each array has
/// out.size() elements.
void sum_roots(int64_t n, std::span<const Root> roots, std::span<float> out);

/// into[i] = into[i] + from[i], in fp32: one inner node of the tree.
void add_into(std::span<float> into, const std::byte* from, DType dtype);

/// The tree sum of fp64 numbers (losses, block norms).
double tree_sum(std::span<const double> leaves);

/// Sum of squares in fp64, in an order fixed by the element index alone (16 lanes, then a tree over the
/// lanes).
double sum_of_squares(std::span<const float> values);

}  // namespace shoal::comm
