// e^x in fp32: the polynomial of ggml (ggml_v_expf; after Arm's optimised routines), so its bits. Error below
// 2 units in the last place; what overflows is infinity, what is below 2^-149 is 0.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>

namespace shoal::infer {

inline float exp_scalar(float x) {
  const float rounder = 0x1.8p23f;
  const float z = std::fma(x, 0x1.715476p+0f, rounder), n = z - rounder;  // n: x / ln 2, a whole number
  const float b = std::fma(-n, 0x1.7f7d1cp-20f, std::fma(-n, 0x1.62e4p-1f, x));
  const uint32_t e = std::bit_cast<uint32_t>(z) << 23;
  const float k = std::bit_cast<float>(e + std::bit_cast<uint32_t>(1.0f));
  const float u = b * b;
  const float j = std::fma(
      std::fma(std::fma(0x1.0e4020p-7f, b, 0x1.573e2ep-5f), u, std::fma(0x1.555e66p-3f, b, 0x1.fffdb6p-2f)),
      u, 0x1.ffffecp-1f * b);
  const float size = std::fabs(n);
  if (!(size > 126)) return std::fma(j, k, k);
  const uint32_t g = n <= 0 ? 0x82000000u : 0u;
  const float s1 = std::bit_cast<float>(g + 0x7f000000u), s2 = std::bit_cast<float>(e - g);
  return size > 192 ? s1 * s1 : std::fma(s2, j, s2) * s1;
}

/// x / (1 + e^-x).
inline float silu_scalar(float x) { return x / (1.0f + exp_scalar(0.0f - x)); }

/// x (1 + tanh u) / 2 = x / (1 + e^-2u), u = sqrt(2/pi) (x + 0.044715 x^3).
inline float gelu_scalar(float x) {
  const float cube = x * x * x, inner = std::fma(0.044715f, cube, x);
  return x / (1.0f + exp_scalar(inner * -1.5957691216057308f));
}

}  // namespace shoal::infer
