// Attention over the cache: near fp64; the same bits however a sequence is cut into steps, whichever pages it
// has, whatever else is in the call, and for every instruction set.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "infer/kernel_samples.h"
#include "infer/kernels/attention.h"

namespace shoal::infer {
namespace {

struct Shape {
  int64_t length, heads, kv_heads, head_width, window;
};

/// All rows of a sequence, in steps of the given sizes, from pages in the given order.
std::vector<float> run(const Code& code, CacheType type, const Shape& s, const std::vector<float>& q,
                       const std::vector<float>& k, const std::vector<float>& v, std::vector<int64_t> steps,
                       std::mt19937& random) {
  const int64_t pages = (s.length + kPageTokens - 1) / kPageTokens + 3;
  LayerCache cache(type, pages, s.kv_heads, s.head_width);
  std::vector<int32_t> table(static_cast<size_t>(pages));
  std::iota(table.begin(), table.end(), 0);
  std::shuffle(table.begin(), table.end(), random);
  // Whoever had the pages before left something there.
  const auto rest = random_floats(pages * kPageTokens * s.kv_heads * s.head_width, random);
  std::vector<int64_t> everywhere(static_cast<size_t>(pages * kPageTokens));
  std::iota(everywhere.begin(), everywhere.end(), 0);
  cache.store(rest.data(), rest.data(), pages * kPageTokens, s.kv_heads * s.head_width, everywhere.data());

  std::vector<float> out(q.size());
  int64_t done = 0;
  for (size_t i = 0; done < s.length; ++i) {
    const int64_t rows = std::min(steps[i % steps.size()], s.length - done);
    std::vector<int64_t> places;
    for (int64_t t = done; t < done + rows; ++t) {
      places.push_back(table[static_cast<size_t>(t / kPageTokens)] * kPageTokens + t % kPageTokens);
    }
    const int64_t kv = s.kv_heads * s.head_width, width = s.heads * s.head_width;
    cache.store(k.data() + done * kv, v.data() + done * kv, rows, kv, places.data());
    const AttentionRows seq{0, rows, done + rows, table.data()};
    code.attention(cache.impl().view, &seq, 1, q.data() + done * width, width, s.heads, s.window,
                   out.data() + done * width, width);
    done += rows;
  }
  return out;
}

const std::vector<Shape> kShapes = {
    {70, 9, 3, 64, 0}, {100, 4, 4, 32, 0}, {45, 6, 2, 80, 0}, {90, 4, 1, 40, 20}, {33, 2, 1, 128, 7}};

TEST(KernelsAttention, IsNearFp64) {
  std::mt19937 random(1);
  for (const Shape& s : kShapes) {
    const auto q = random_floats(s.length * s.heads * s.head_width, random);
    const auto k = random_floats(s.length * s.kv_heads * s.head_width, random),
               v = random_floats(s.length * s.kv_heads * s.head_width, random);
    for (const CacheType type : {CacheType::kF32, CacheType::kF16}) {
      const auto out = run(kScalarCode, type, s, q, k, v, {s.length}, random);
      for (int64_t t = 0; t < s.length; ++t) {
        for (int64_t h = 0; h < s.heads; ++h) {
          const int64_t kv = h / (s.heads / s.kv_heads), n = s.head_width;
          std::vector<double> mean(static_cast<size_t>(n));
          double sum = 0;
          for (int64_t j = s.window > 0 ? std::max<int64_t>(0, t - s.window + 1) : 0; j <= t; ++j) {
            double score = 0;
            for (int64_t i = 0; i < n; ++i) {
              score += static_cast<double>(q[static_cast<size_t>((t * s.heads + h) * n + i)]) *
                       k[static_cast<size_t>((j * s.kv_heads + kv) * n + i)];
            }
            const double weight = std::exp(score / std::sqrt(static_cast<double>(n)));
            sum += weight;
            for (int64_t i = 0; i < n; ++i)
              mean[static_cast<size_t>(i)] += weight * v[static_cast<size_t>((j * s.kv_heads + kv) * n + i)];
          }
          for (int64_t i = 0; i < n; ++i) {
            EXPECT_NEAR(out[static_cast<size_t>((t * s.heads + h) * n + i)],
                        mean[static_cast<size_t>(i)] / sum, type == CacheType::kF16 ? 6e-3 : 1e-5);
          }
        }
      }
    }
  }
}

TEST(KernelsAttention, TheSameForEverySplitPagesAndInstructionSet) {
  std::mt19937 random(2);
  for (const Shape& s : kShapes) {
    const auto q = random_floats(s.length * s.heads * s.head_width, random);
    const auto k = random_floats(s.length * s.kv_heads * s.head_width, random),
               v = random_floats(s.length * s.kv_heads * s.head_width, random);
    for (const CacheType type : {CacheType::kF32, CacheType::kF16}) {
      const auto whole = run(kScalarCode, type, s, q, k, v, {s.length}, random);
      EXPECT_TRUE(same_bits(run(kScalarCode, type, s, q, k, v, {1}, random), whole)) << "scalar, one by one";
      for (const auto& [name, code] : other_codes()) {
        for (const std::vector<int64_t>& steps :
             {std::vector<int64_t>{s.length}, {1}, {5, 1, 1, 17}, {16}, {31, 2}}) {
          EXPECT_TRUE(same_bits(run(*code, type, s, q, k, v, steps, random), whole))
              << name << " steps of " << steps[0] << ", head_width " << s.head_width;
        }
      }
    }
  }
}

TEST(KernelsAttention, SequencesInOneCallAreThoseAlone) {
  std::mt19937 random(3);
  const int64_t heads = 4, kv_heads = 2, n = 64, kv = kv_heads * n, width = heads * n;
  LayerCache cache(CacheType::kF16, 8, kv_heads, n);
  std::vector<int64_t> places(8 * kPageTokens);
  std::iota(places.begin(), places.end(), 0);
  const auto k = random_floats(8 * kPageTokens * kv, random), v = random_floats(8 * kPageTokens * kv, random);
  cache.store(k.data(), v.data(), 8 * kPageTokens, kv, places.data());
  const int32_t one[] = {3, 1}, two[] = {0, 7, 2};
  const std::vector<AttentionRows> both = {{0, 2, 20, one}, {2, 3, 47, two}};
  const auto q = random_floats(5 * width, random);
  std::vector<float> together(static_cast<size_t>(5 * width)), alone(static_cast<size_t>(5 * width));
  attention(cache, both, q.data(), width, heads, 0, together.data(), width);
  for (const auto& rows : both) attention(cache, {&rows, 1}, q.data(), width, heads, 0, alone.data(), width);
  EXPECT_TRUE(same_bits(together, alone));
}

}  // namespace
}  // namespace shoal::infer
