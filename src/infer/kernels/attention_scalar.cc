// Attention, one head of one row after the other: the definition of its bits (docs/kernels.md).
#include <cmath>
#include <cstring>
#include <vector>

#include "infer/kernels/attention.h"
#include "infer/kernels/exp.h"
#include "infer/kernels/half.h"
#include "infer/kernels/sums.h"

namespace shoal::infer {
namespace {

float element(CacheType type, const std::byte* at, int64_t index) {
  if (type == CacheType::kF32) {
    float value;
    std::memcpy(&value, at + index * 4, 4);
    return value;
  }
  uint16_t bits;
  std::memcpy(&bits, at + index * 2, 2);
  return from_half(bits);
}
/// What llama.cpp rounds to fp16 because the other factor is.
float rounded(CacheType type, float value) {
  return type == CacheType::kF16 ? from_half(to_half(value)) : value;
}

}  // namespace

void attention_scalar(const CacheView& cache, const AttentionRows* all, int64_t sequences,
                      const float* queries, int64_t query_stride, int64_t heads, int64_t window, float* out,
                      int64_t out_stride) {
  const int64_t n = cache.head_width, group = heads / cache.kv_heads;
  const float scale = 1.0f / std::sqrt(static_cast<float>(n));
  std::vector<float> weights, query(static_cast<size_t>(cache.padded));
  for (const AttentionRows* s = all; s != all + sequences; ++s) {
    for (int64_t row = 0; row < s->rows; ++row) {
      const auto [begin, end] = seen_by(*s, row, window);
      const int64_t base = begin / kChains * kChains;  // token t of the cache is number t - base
      for (int64_t h = 0; h < heads; ++h) {
        const float* const q = queries + (s->first_row + row) * query_stride + h * n;
        for (int64_t i = 0; i < n; ++i) query[static_cast<size_t>(i)] = rounded(cache.type, q[i]);
        weights.assign(static_cast<size_t>(round_up(end - base, kChains)), 0.0f);
        // Keys: 32 chains over the elements.
        float largest = -INFINITY;
        for (int64_t t = begin; t < end; ++t) {
          const std::byte* const keys = cache.keys(s->pages[t / kPageTokens], h / group);
          float acc[kChains] = {};
          for (int64_t i = 0; i < cache.padded; ++i) {
            acc[i % kChains] =
                std::fma(query[static_cast<size_t>(i)],
                         element(cache.type, keys, i * kPageTokens + t % kPageTokens), acc[i % kChains]);
          }
          const float score = sum_chains(acc) * scale;
          weights[static_cast<size_t>(t - base)] = score;
          largest = std::max(largest, score);
        }
        // Softmax: groups of eight keys are added in fp32, the groups in fp64; keys that are not seen count
        // as 0.
        double sum = 0;
        for (int64_t t = base; t < end; t += 8) {
          float* const eight = weights.data() + (t - base);
          for (int64_t k = 0; k < 8; ++k) {
            eight[k] = t + k < begin || t + k >= end ? 0 : exp_scalar(eight[k] - largest);
          }
          float sums[4];
          for (int k = 0; k < 4; ++k) sums[k] = eight[k + 4] + eight[k];
          sum += static_cast<double>((sums[0] + sums[2]) + (sums[1] + sums[3]));
        }
        const auto inverse = static_cast<float>(1.0 / sum);
        for (float& w : weights) w = rounded(cache.type, w * inverse);
        // Values: 32 chains over the tokens.
        for (int64_t i = 0; i < n; ++i) {
          float acc[kChains] = {};
          for (int64_t t = begin; t < end; ++t) {
            const std::byte* const values = cache.values(s->pages[t / kPageTokens], h / group);
            acc[t % kChains] =
                std::fma(weights[static_cast<size_t>(t - base)],
                         element(cache.type, values, i * kPageTokens + t % kPageTokens), acc[t % kChains]);
          }
          out[(s->first_row + row) * out_stride + h * n + i] = sum_chains(acc);
        }
      }
    }
  }
}

}  // namespace shoal::infer
