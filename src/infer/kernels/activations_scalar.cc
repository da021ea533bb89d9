#include "infer/kernels/activations_scalar.h"

#include <cmath>
#include <cstring>

#include "infer/kernels/half.h"

namespace shoal::infer {
namespace {

using formats::WeightType;

/// Blocks of 32: q8_0, and q8_1 where `sums` is not null.
void quantise_32(const float* x, int64_t blocks, int8_t* quants, float* scales, float* sums) {
  for (int64_t b = 0; b < blocks; ++b, x += 32, quants += 32) {
    float largest = 0;
    for (int i = 0; i < 32; ++i) largest = std::max(largest, std::fabs(x[i]));
    const float d = largest / 127.0f, inverse = largest != 0 ? 127.0f / largest : 0.0f;
    int32_t sum = 0;
    for (int i = 0; i < 32; ++i) {
      const auto quant = static_cast<int32_t>(std::nearbyint(x[i] * inverse));
      quants[i] = static_cast<int8_t>(quant);
      sum += quant;
    }
    scales[b] = from_half(to_half(d));
    if (sums != nullptr) sums[b] = from_half(to_half(d * static_cast<float>(sum)));
  }
}

/// Blocks of 256 with sums of 16 quants each.
void quantise_256(const float* x, int64_t blocks, int8_t* quants, float* scales, int16_t* sums) {
  for (int64_t b = 0; b < blocks; ++b, x += 256, quants += 256, sums += 16) {
    float largest = 0, signed_largest = 0;
    for (int i = 0; i < 256; ++i) {
      if (std::fabs(x[i]) > largest) largest = std::fabs(x[i]), signed_largest = x[i];
    }
    if (largest == 0) {
      scales[b] = 0;
      std::memset(quants, 0, 256);
      std::memset(sums, 0, 16 * sizeof(int16_t));
      continue;
    }
    const float inverse = -127.0f / signed_largest;
    for (int i = 0; i < 256; ++i) {
      quants[i] = static_cast<int8_t>(std::min(127, static_cast<int32_t>(std::nearbyint(inverse * x[i]))));
    }
    for (int s = 0; s < 16; ++s) {
      int sum = 0;
      for (int i = 0; i < 16; ++i) sum += quants[s * 16 + i];
      sums[s] = static_cast<int16_t>(sum);
    }
    scales[b] = 1 / inverse;
  }
}

}  // namespace

void activations_scalar(WeightType type, const float* x, int64_t stride, const ActivationRows& out) {
  const int64_t n = out.columns;
  for (int64_t r = 0; r < out.rows; ++r, x += stride) {
    if (out.values != nullptr) {
      float* const row = out.values + r * out.padded;
      for (int64_t i = 0; i < n; ++i) row[i] = type == WeightType::kF16 ? from_half(to_half(x[i])) : x[i];
      for (int64_t i = n; i < out.padded; ++i) row[i] = 0;
      continue;
    }
    int8_t* const quants = out.quants + r * n;
    if (out.block_sums != nullptr) {
      quantise_256(x, out.blocks, quants, out.scales + r * out.blocks, out.block_sums + r * out.blocks * 16);
      continue;
    }
    quantise_32(x, out.blocks, quants, out.scales + r * out.blocks,
                out.sums != nullptr ? out.sums + r * out.blocks : nullptr);
    if (out.offsets == nullptr) continue;
    const int32_t offset = type == WeightType::kQ4_0 ? -8 : -128;
    for (int64_t w = 0; w < n / 4; ++w) {
      const int8_t* q = quants + w * 4;
      out.offsets[r * (n / 4) + w] = offset * (q[0] + q[1] + q[2] + q[3]);
    }
  }
}

}  // namespace shoal::infer
