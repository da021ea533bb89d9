// Rounding to bfloat16: the upper half of an fp32, to the nearest, of two equally near the even one.
#pragma once

#include <bit>
#include <cstdint>

namespace shoal::formats {

inline uint16_t to_bf16(float value) {
  const auto bits = std::bit_cast<uint32_t>(value);
  if ((bits & 0x7FFFFFFFu) > 0x7F800000u) return static_cast<uint16_t>(bits >> 16 | 0x40);  // NaN stays one
  return static_cast<uint16_t>((bits + 0x7FFFu + (bits >> 16 & 1)) >> 16);
}

}  // namespace shoal::formats
