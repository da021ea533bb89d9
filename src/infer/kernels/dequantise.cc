// A row of a table as fp32: ggml's dequantize_row_*, which multiply and add without fusing.
#include <cstring>
#include <string>

#include "infer/kernels/half.h"
#include "infer/kernels/kernels.h"
#include "infer/kernels/packed.h"
#include "shoal/error.h"

namespace shoal::infer {
namespace {

using formats::WeightType;

float half_at(const uint8_t* bytes) {
  uint16_t bits;
  std::memcpy(&bits, bytes, 2);
  return from_half(bits);
}

void block_q4_k(const uint8_t* block, float* out) {
  const float d = half_at(block), dmin = half_at(block + 2);
  const uint8_t* const packed = block + 4;
  for (int g = 0; g < 8; ++g) {
    const int scale = g < 4 ? packed[g] & 63 : (packed[g + 4] & 15) | ((packed[g - 4] >> 6) << 4);
    const int minimum = g < 4 ? packed[g + 4] & 63 : (packed[g + 4] >> 4) | ((packed[g] >> 6) << 4);
    const float step = d * static_cast<float>(scale), least = dmin * static_cast<float>(minimum);
    for (int i = 0; i < 32; ++i) {
      const uint8_t both = block[16 + g / 2 * 32 + i];
      out[g * 32 + i] = step * static_cast<float>(g % 2 == 0 ? both & 15 : both >> 4) - least;
    }
  }
}

void block_q6_k(const uint8_t* block, float* out) {
  const float d = half_at(block + 208);
  for (int g = 0; g < 8; ++g) {
    const int half = g / 4, part = g % 4;
    for (int i = 0; i < 32; ++i) {
      const int low = block[half * 64 + part % 2 * 32 + i], high = block[128 + half * 32 + i];
      const int value = ((part < 2 ? low & 15 : low >> 4) | (((high >> (2 * part)) & 3) << 4)) - 32;
      const auto scale = static_cast<int8_t>(block[192 + g * 2 + i / 16]);
      out[g * 32 + i] = d * static_cast<float>(scale) * static_cast<float>(value);
    }
  }
}

void block_32(WeightType type, const uint8_t* block, float* out) {
  const float d = half_at(block), m = type == WeightType::kQ4_1 ? half_at(block + 2) : 0;
  for (int i = 0; i < 32; ++i) {
    if (type == WeightType::kQ8_0) {
      out[i] = static_cast<float>(static_cast<int8_t>(block[2 + i])) * d;
      continue;
    }
    const uint8_t both = block[(type == WeightType::kQ4_1 ? 4 : 2) + i % 16];
    const int value = i < 16 ? both & 15 : both >> 4;
    out[i] =
        type == WeightType::kQ4_1 ? static_cast<float>(value) * d + m : static_cast<float>(value - 8) * d;
  }
}

}  // namespace

void dequantise_row(const formats::Weight& table, int64_t row, float* out) {
  if (row < 0 || row >= table.rows) {
    throw InputError("table - row: got " + std::to_string(row) + ", want 0 to " +
                     std::to_string(table.rows - 1));
  }
  const auto* const bytes = reinterpret_cast<const uint8_t*>(table.data);
  const int64_t n = table.columns;
  if (table.type == WeightType::kF32) {
    std::memcpy(out, bytes + row * n * 4, static_cast<size_t>(n) * 4);
    return;
  }
  if (!is_quantised(table.type)) {
    for (int64_t i = 0; i < n; ++i) {
      uint16_t bits;
      std::memcpy(&bits, bytes + (row * n + i) * 2, 2);
      out[i] = table.type == WeightType::kF16 ? from_half(bits) : from_bfloat(bits);
    }
    return;
  }
  const TileBlock size = tile_block(table.type);
  const uint8_t* block = bytes + row * (n / size.elements) * size.file_bytes;
  for (int64_t i = 0; i < n; i += size.elements, block += size.file_bytes) {
    if (table.type == WeightType::kQ4_K) {
      block_q4_k(block, out + i);
    } else if (table.type == WeightType::kQ6_K) {
      block_q6_k(block, out + i);
    } else {
      block_32(table.type, block, out + i);
    }
  }
}

}  // namespace shoal::infer
