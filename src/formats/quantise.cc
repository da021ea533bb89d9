#include "formats/quantise.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/half.h"

namespace shoal::formats {
namespace {

bool is_infinite_half(uint16_t bits) { return (bits & 0x7FFF) == 0x7C00; }
bool is_infinite_bfloat(uint16_t bits) { return (bits & 0x7FFF) == 0x7F80; }

bool quantise_q8_0(const float* x, int64_t count, std::byte* out) {
  for (int64_t block = 0; block < count / 32; ++block, x += 32, out += 34) {
    float most = 0;
    for (int i = 0; i < 32; ++i) {
      if (!std::isfinite(x[i])) return false;
      most = std::max(most, std::abs(x[i]));
    }
    const float scale = most / 127, inverse = scale != 0 ? 1 / scale : 0;
    const uint16_t stored = to_half(scale);
    if (is_infinite_half(stored)) return false;
    std::memcpy(out, &stored, sizeof stored);
    for (int i = 0; i < 32; ++i)
      out[2 + i] = static_cast<std::byte>(static_cast<int8_t>(std::round(x[i] * inverse)));
  }
  return true;
}

}  // namespace

bool can_quantise_to(WeightType type) { return info(type).block_elements == 1 || type == WeightType::kQ8_0; }

bool quantise_row(WeightType type, const float* x, int64_t count, std::byte* out) {
  if (type == WeightType::kF32) {
    std::memcpy(out, x, static_cast<size_t>(count) * sizeof(float));
    return true;
  }
  if (type == WeightType::kQ8_0) return quantise_q8_0(x, count, out);
  for (int64_t i = 0; i < count; ++i) {
    const bool is_half = type == WeightType::kF16;
    const uint16_t bits = is_half ? to_half(x[i]) : to_bfloat(x[i]);
    if (std::isfinite(x[i]) && (is_half ? is_infinite_half(bits) : is_infinite_bfloat(bits))) return false;
    std::memcpy(out + 2 * i, &bits, sizeof bits);
  }
  return true;
}

}  // namespace shoal::formats
