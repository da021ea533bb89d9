// The tree, spelled out for small sizes and compared with its recursive definition for random ones.
#include "comm/reduce.h"

#include <gtest/gtest.h>

#include <bit>
#include <cstring>
#include <random>
#include <stdexcept>

namespace shoal::comm {
namespace {

TEST(TreeSplit, IsTheLargestPowerOfTwoBelowTheSize) {
  const int64_t splits[] = {1, 2, 2, 4, 4, 4, 4, 8};  // of 2, 3, ... 9 leaves
  for (int64_t n = 2; n <= 9; ++n) {
    EXPECT_EQ(tree_split({0, n}), splits[n - 2]) << n;
    EXPECT_EQ(tree_split({100, 100 + n}), 100 + splits[n - 2]) << n;
  }
}

TEST(TreeRoots, OfSmallTrees) {
  using Roots = std::vector<Range>;
  EXPECT_EQ(tree_roots(8, {0, 8}), (Roots{{0, 8}}));
  EXPECT_EQ(tree_roots(8, {0, 4}), (Roots{{0, 4}}));
  EXPECT_EQ(tree_roots(8, {1, 7}), (Roots{{1, 2}, {2, 4}, {4, 6}, {6, 7}}));
  EXPECT_EQ(tree_roots(6, {3, 6}), (Roots{{3, 4}, {4, 6}}));
  EXPECT_EQ(tree_roots(6, {4, 6}), (Roots{{4, 6}}));
  EXPECT_EQ(tree_roots(7, {4, 7}), (Roots{{4, 7}}));  // ((0 1)(2 3)) ((4 5) 6)
  EXPECT_EQ(tree_roots(1, {0, 1}), (Roots{{0, 1}}));
  EXPECT_EQ(tree_roots(5, {2, 2}), Roots{});
  EXPECT_EQ(tree_roots(0, {0, 0}), Roots{});
}

TEST(TreeRoots, CoverWhatIsHeldAndStayFew) {
  for (int64_t n = 1; n <= 40; ++n)
    for (int64_t begin = 0; begin <= n; ++begin)
      for (int64_t end = begin; end <= n; ++end) {
        int64_t at = begin;
        const auto roots = tree_roots(n, {begin, end});
        for (const Range root : roots) {
          ASSERT_EQ(root.begin, at);
          ASSERT_GT(root.size(), 0);
          at = root.end;
        }
        ASSERT_EQ(at, end);
        ASSERT_LE(roots.size(), std::max<size_t>(1, 2 * std::bit_width(static_cast<uint64_t>(n - 1))));
      }
}

TEST(TreeSum, OfDoublesInTreeOrder) {
  EXPECT_EQ(tree_sum({}), 0);
  const double big = 0x1p60;
  EXPECT_EQ(tree_sum(std::vector<double>{big, 1, -big}), 0);           // (big + 1) - big: the 1 is lost
  EXPECT_EQ(tree_sum(std::vector<double>{big, -big, 1}), 1);           // (big - big) + 1
  EXPECT_EQ(tree_sum(std::vector<double>{1, big, -big, 1}), 0);        // (1 + big) + (-big + 1)
  EXPECT_EQ(tree_sum(std::vector<double>{1, 1, 1, 1, big, -big}), 4);  // ((1 1)(1 1)) + (big - big)
}

// The obvious recursive definition, one element at a time.
float reference(const std::vector<float>& leaves, Range range) {
  if (range.size() == 1) return leaves[range.begin];
  int64_t half = 1;
  while (half * 2 < range.size()) half *= 2;
  return reference(leaves, {range.begin, range.begin + half}) +
         reference(leaves, {range.begin + half, range.end});
}

uint32_t bits(float value) { return std::bit_cast<uint32_t>(value); }
float widen(uint16_t value) { return std::bit_cast<float>(uint32_t{value} << 16); }

template <class T>
const std::byte* bytes_of(const std::vector<T>& values) {
  return reinterpret_cast<const std::byte*>(values.data());
}

// Random leaves, held by a random number of ranks: each keeps its roots, all roots together give the bits of
// the definition.
TEST(SumRoots, SameBitsForEveryWayToHoldTheLeaves) {
  const unsigned seed = std::random_device{}();
  SCOPED_TRACE(seed);
  std::mt19937 random(seed);
  const auto below = [&](size_t limit) { return static_cast<size_t>(random() % limit); };
  for (int round = 0; round < 200; ++round) {
    const int64_t n = 1 + static_cast<int64_t>(below(round % 10 == 0 ? 70 : 12));
    const size_t elements = below(round % 20 == 0 ? 5000 : 40);
    const bool leaves_are_bf16 = below(2) == 0;
    std::vector<std::vector<uint16_t>> halves(n, std::vector<uint16_t>(elements));
    std::vector<std::vector<float>> leaves(n, std::vector<float>(elements));
    for (int64_t leaf = 0; leaf < n; ++leaf)
      for (size_t i = 0; i < elements; ++i) {
        const float value =
            std::ldexp(static_cast<float>(random()) - 0x1p31f, static_cast<int>(below(30)) - 40);
        halves[leaf][i] = static_cast<uint16_t>(bits(value) >> 16);
        leaves[leaf][i] = leaves_are_bf16 ? widen(halves[leaf][i]) : value;
      }
    std::vector<float> want(elements);
    for (size_t i = 0; i < elements; ++i) {
      std::vector<float> column(n);
      for (int64_t leaf = 0; leaf < n; ++leaf) column[leaf] = leaves[leaf][i];
      want[i] = reference(column, {0, n});
    }

    std::vector<Root> roots;
    std::vector<std::vector<float>> sums;  // of the roots
    sums.reserve(2 * n);
    for (int64_t begin = 0; begin < n;) {
      const int64_t end = begin + 1 + static_cast<int64_t>(below(n - begin));
      for (const Range root : tree_roots(n, {begin, end})) {
        if (root.size() == 1 && leaves_are_bf16) {
          roots.push_back({root, bytes_of(halves[root.begin]), DType::kBF16});
          continue;
        }
        sums.emplace_back(elements);
        for (size_t i = 0; i < elements; ++i) {
          std::vector<float> column(n);
          for (int64_t leaf = 0; leaf < n; ++leaf) column[leaf] = leaves[leaf][i];
          sums.back()[i] = reference(column, root);
        }
        roots.push_back({root, bytes_of(sums.back()), DType::kF32});
      }
      begin = end;
    }
    std::vector<float> got(elements, 7);
    sum_roots(n, roots, got);
    for (size_t i = 0; i < elements; ++i)
      ASSERT_EQ(bits(got[i]), bits(want[i])) << "n " << n << ", element " << i;

    // In place of any fp32 root, too.
    if (sums.empty()) continue;
    std::vector<float>& place = sums[below(sums.size())];
    sum_roots(n, roots, place);
    for (size_t i = 0; i < elements; ++i)
      ASSERT_EQ(bits(place[i]), bits(want[i])) << "in place, n " << n << ", element " << i;
  }
}

TEST(SumRoots, RefusesRootsThatAreNoCover) {
  const std::vector<float> data(4, 1);
  std::vector<float> out(4);
  const auto sum = [&](int64_t n, std::vector<Range> ranges) {
    std::vector<Root> roots;
    for (const Range range : ranges) roots.push_back({range, bytes_of(data), DType::kF32});
    sum_roots(n, roots, out);
  };
  EXPECT_NO_THROW(sum(4, {{0, 2}, {2, 3}, {3, 4}}));
  EXPECT_THROW(sum(4, {{0, 2}, {2, 3}}), std::logic_error);          // one is missing
  EXPECT_THROW(sum(4, {{0, 2}, {2, 4}, {4, 5}}), std::logic_error);  // one too many
  EXPECT_THROW(sum(4, {{2, 4}, {0, 2}}), std::logic_error);          // out of order
  EXPECT_THROW(sum(4, {{0, 1}, {1, 3}, {3, 4}}), std::logic_error);  // no subtree
  EXPECT_THROW(sum(4, {}), std::logic_error);
}

TEST(AddInto, AddsOneArray) {
  std::vector<float> into = {1, 2, 3};
  add_into(into, bytes_of(std::vector<float>{10, 20, 30}), DType::kF32);
  EXPECT_EQ(into, (std::vector<float>{11, 22, 33}));
  add_into(into, bytes_of(std::vector<uint16_t>{0x3F80, 0xBF80, 0x4000}), DType::kBF16);  // 1, -1, 2
  EXPECT_EQ(into, (std::vector<float>{12, 21, 35}));
}

TEST(SumOfSquares, IsSixteenLanesAndATree) {
  std::mt19937 random(1);
  for (const size_t count : {0, 1, 15, 16, 17, 33, 1000, 65'536}) {
    std::vector<float> values(count);
    for (float& value : values) value = static_cast<float>(random()) * 0x1p-20f - 2048;
    std::vector<double> lanes(16);
    for (size_t i = 0; i < count; ++i) lanes[i % 16] += double{values[i]} * double{values[i]};
    EXPECT_EQ(sum_of_squares(values), tree_sum(lanes)) << count;
  }
}

}  // namespace
}  // namespace shoal::comm
