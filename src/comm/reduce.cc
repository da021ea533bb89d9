#include "comm/reduce.h"

#include <algorithm>
#include <array>
#include <bit>

#include "base/fault.h"
#include "base/text.h"

namespace shoal::comm {
namespace {

// Every loop here is element-wise (or over 16 fixed lanes), so its bits do not depend on the vector width it
// is compiled to.

float load(const float* from, size_t i) { return from[i]; }
float load(const uint16_t* from, size_t i) { return std::bit_cast<float>(uint32_t{from[i]} << 16); }

// `out` may be one of the inputs, element for element: no iteration depends on another.
template <class T>
void copy(float* out, const T* from, size_t count) {
#pragma GCC ivdep
  for (size_t i = 0; i < count; ++i) out[i] = load(from, i);
}
template <class A, class B>
void add(float* out, const A* a, const B* b, size_t count) {
#pragma GCC ivdep
  for (size_t i = 0; i < count; ++i) out[i] = load(a, i) + load(b, i);
}
template <class T>
void add_to(float* out, const T* from, size_t count) {
#pragma GCC ivdep
  for (size_t i = 0; i < count; ++i) out[i] += load(from, i);
}

/// Calls `f` with the data as what it is.
template <class F>
void typed(DType dtype, const std::byte* data, F f) {
  switch (dtype) {
    case DType::kF32:
      return f(reinterpret_cast<const float*>(data));
    case DType::kBF16:
      return f(reinterpret_cast<const uint16_t*>(data));
    case DType::kF64:
      break;
  }
  throw BrokenInvariant("reduce - dtype: got fp64, want fp32 or bf16");
}

// The tree over the roots, evaluated for one strip of elements at a time so that the partial sums stay in the
// cache.
class TreeSum {
 public:
  explicit TreeSum(std::span<const Root> roots) : roots_(roots) {}

  /// out = the sum of the subtree over `range`, whose first root is roots[first], for elements [begin, begin
  /// + count). Returns the number of roots that the subtree took.
  size_t evaluate(Range range, size_t first, size_t begin, float* out, size_t count) {
    if (const Root* root = root_at(range, first)) {
      typed(root->dtype, at(*root, begin), [&](auto* data) { copy(out, data, count); });
      return 1;
    }
    const int64_t middle = tree_split(range);
    const Range left = {range.begin, middle}, right = {middle, range.end};
    const Root* left_root = root_at(left, first);
    const Root* right_root = left_root ? root_at(right, first + 1) : nullptr;
    if (left_root && right_root) {
      typed(left_root->dtype, at(*left_root, begin), [&](auto* a) {
        typed(right_root->dtype, at(*right_root, begin), [&](auto* b) { add(out, a, b, count); });
      });
      return 2;
    }
    const size_t taken = evaluate(left, first, begin, out, count);
    if (const Root* root = root_at(right, first + taken)) {
      typed(root->dtype, at(*root, begin), [&](auto* data) { add_to(out, data, count); });
      return taken + 1;
    }
    std::array<float, kStrip> partial;
    const size_t more = evaluate(right, first + taken, begin, partial.data(), count);
    add_to(out, partial.data(), count);
    return taken + more;
  }

  static constexpr size_t kStrip = 2048;

 private:
  const Root* root_at(Range range, size_t index) const {
    if (index < roots_.size() && roots_[index].leaves == range) return &roots_[index];
    if (range.size() <= 1 || index >= roots_.size())
      throw BrokenInvariant(cat("sum_roots - roots: got none for leaves ", range.begin, " to ", range.end,
                                 ", want subtrees that cover the tree once, in order"));
    return nullptr;
  }
  static const std::byte* at(const Root& root, size_t element) {
    return root.data + element * element_bytes(root.dtype);
  }

  std::span<const Root> roots_;
};

double tree_sum(std::span<const double> leaves, Range range) {
  if (range.size() == 1) return leaves[range.begin];
  const int64_t middle = tree_split(range);
  return tree_sum(leaves, {range.begin, middle}) + tree_sum(leaves, {middle, range.end});
}

void collect_roots(Range node, Range held, std::vector<Range>& out) {
  if (intersect(node, held).empty()) return;
  if (held.contains(node)) return out.push_back(node);
  const int64_t middle = tree_split(node);
  collect_roots({node.begin, middle}, held, out);
  collect_roots({middle, node.end}, held, out);
}

}  // namespace

size_t element_bytes(DType dtype) { return dtype == DType::kF64 ? 8 : dtype == DType::kF32 ? 4 : 2; }

int64_t tree_split(Range range) {
  return range.begin + static_cast<int64_t>(std::bit_floor(static_cast<uint64_t>(range.size() - 1)));
}

std::vector<Range> tree_roots(int64_t n, Range held) {
  std::vector<Range> roots;
  if (n > 0) collect_roots({0, n}, intersect(held, {0, n}), roots);
  return roots;
}

void sum_roots(int64_t n, std::span<const Root> roots, std::span<float> out) {
  TreeSum tree(roots);
  const auto evaluate = [&](size_t begin, float* to, size_t count) {
    const size_t taken = tree.evaluate({0, n}, 0, begin, to, count);
    if (taken != roots.size())
      throw BrokenInvariant(
          cat("sum_roots - roots: got ", roots.size(), ", want the ", taken, " that cover the tree"));
  };
  // Two roots or one need no partial sums: one pass over the whole arrays.
  if (roots.size() <= 2) return evaluate(0, out.data(), out.size());
  std::array<float, TreeSum::kStrip> sum;  // not `out`, which may be one of the roots
  for (size_t begin = 0; begin < out.size(); begin += sum.size()) {
    const size_t count = std::min(sum.size(), out.size() - begin);
    evaluate(begin, sum.data(), count);
    std::copy_n(sum.data(), count, out.data() + begin);
  }
}

void add_into(std::span<float> into, const std::byte* from, DType dtype) {
  typed(dtype, from, [&](auto* data) { add_to(into.data(), data, into.size()); });
}

double tree_sum(std::span<const double> leaves) {
  return leaves.empty() ? 0 : tree_sum(leaves, {0, static_cast<int64_t>(leaves.size())});
}

double sum_of_squares(std::span<const float> values) {
  constexpr size_t kLanes = 16;
  std::array<double, kLanes> lanes{};
  const size_t whole = values.size() / kLanes * kLanes;
  for (size_t i = 0; i < whole; i += kLanes)
    for (size_t lane = 0; lane < kLanes; ++lane)
      lanes[lane] += double{values[i + lane]} * double{values[i + lane]};
  for (size_t i = whole; i < values.size(); ++i) lanes[i - whole] += double{values[i]} * double{values[i]};
  return tree_sum(lanes);
}

}  // namespace shoal::comm
