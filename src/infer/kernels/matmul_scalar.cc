// The products, one element after the other: the definition of their bits (docs/kernels.md).
#include "infer/kernels/matmul_scalar.h"

#include <cmath>
#include <cstring>

#include "infer/kernels/half.h"
#include "infer/kernels/sums.h"

namespace shoal::infer {
namespace {

using formats::WeightType;

float scale_at(const std::byte* scales, int64_t index, int64_t lane) {
  uint16_t bits;
  std::memcpy(&bits, scales + (index * kTileRows + lane) * 2, 2);
  return from_half(bits);
}
/// Byte i of word w of row `lane`.
int quant_at(const std::byte* quants, int64_t word, int64_t lane, int64_t i) {
  return static_cast<int>(quants[(word * kTileRows + lane) * 4 + i]);
}

/// Q4_0, Q4_1, Q8_0: eight lanes, lane l of the quants 4l .. 4l+3 of each block.
float dot_32(const PackedMatrix::Impl& w, const std::byte* tile, int64_t lane, const ActivationRows& x,
             int64_t r) {
  const TileBlock size = tile_block(w.type);
  float acc[8] = {}, sums = 0;
  for (int64_t b = 0; b < w.blocks; ++b) {
    const std::byte* const quants = tile + b * size.quants;
    const std::byte* const scales = tile + w.quants_bytes + b * size.scales;
    const int8_t* const q = x.quants + r * x.columns + b * 32;
    const float d = scale_at(scales, 0, lane) * x.scales[r * x.blocks + b];
    if (w.type == WeightType::kQ4_1)
      sums = std::fma(scale_at(scales, 1, lane), x.sums[r * x.blocks + b], sums);
    for (int l = 0; l < 8; ++l) {
      int32_t sum = 0;
      for (int i = 0; i < 4; ++i) {
        int value;
        if (w.type == WeightType::kQ8_0) {
          value = quant_at(quants, l, lane, i) - 128;
        } else {
          const int both = quant_at(quants, l % 4, lane, i);
          value = (l < 4 ? both & 15 : both >> 4) - (w.type == WeightType::kQ4_0 ? 8 : 0);
        }
        sum += value * q[l * 4 + i];
      }
      acc[l] = std::fma(d, static_cast<float>(sum), acc[l]);
    }
  }
  const float sum = sum_lanes(acc);
  return w.type == WeightType::kQ4_1 ? sum + sums : sum;
}

/// Q4_K: eight groups of 32, each with a scale and a minimum; lanes are added up over the groups as integers.
float dot_q4_k(const PackedMatrix::Impl& w, const std::byte* tile, int64_t lane, const ActivationRows& x,
               int64_t r) {
  const TileBlock size = tile_block(w.type);
  float acc[8] = {}, minima[4] = {};
  for (int64_t b = 0; b < w.blocks; ++b) {
    const std::byte* const quants = tile + b * size.quants;
    const std::byte* const scales = tile + w.quants_bytes + b * size.scales;
    const int8_t* const q = x.quants + r * x.columns + b * 256;
    const int16_t* const sums = x.block_sums + (r * x.blocks + b) * 16;
    const float scale = x.scales[r * x.blocks + b];
    const float d = scale * scale_at(scales, 0, lane), dmin = -scale * scale_at(scales, 1, lane);
    const auto small = [&](int index) { return static_cast<int32_t>(scales[64 + index * kTileRows + lane]); };
    for (int i = 0; i < 4; ++i) {
      const int32_t product = small(8 + 2 * i) * (sums[4 * i] + sums[4 * i + 1]) +
                              small(8 + 2 * i + 1) * (sums[4 * i + 2] + sums[4 * i + 3]);
      minima[i] = std::fma(dmin, static_cast<float>(product), minima[i]);
    }
    for (int l = 0; l < 8; ++l) {
      int32_t total = 0;
      for (int g = 0; g < 8; ++g) {
        int32_t sum = 0;
        for (int i = 0; i < 4; ++i) {
          const int both = quant_at(quants, g / 2 * 8 + l, lane, i);
          sum += (g % 2 == 0 ? both & 15 : both >> 4) * q[g * 32 + l * 4 + i];
        }
        total += small(g) * sum;
      }
      acc[l] = std::fma(d, static_cast<float>(total), acc[l]);
    }
  }
  return sum_lanes(acc) + ((minima[0] + minima[2]) + (minima[1] + minima[3]));
}

/// Q6_K: a scale for each 16; what the offset of 32 amounts to is taken off lane l for the groups 2l and
/// 2l+1.
float dot_q6_k(const PackedMatrix::Impl& w, const std::byte* tile, int64_t lane, const ActivationRows& x,
               int64_t r) {
  const TileBlock size = tile_block(w.type);
  float acc[8] = {};
  for (int64_t b = 0; b < w.blocks; ++b) {
    const std::byte* const quants = tile + b * size.quants;
    const std::byte* const scales = tile + w.quants_bytes + b * size.scales;
    const int8_t* const q = x.quants + r * x.columns + b * 256;
    const int16_t* const sums = x.block_sums + (r * x.blocks + b) * 16;
    const float d = x.scales[r * x.blocks + b] * scale_at(scales, 0, lane);
    const auto small = [&](int index) {
      return static_cast<int32_t>(static_cast<int8_t>(scales[32 + index * kTileRows + lane]));
    };
    for (int l = 0; l < 8; ++l) {
      int32_t total = -32 * (small(2 * l) * sums[2 * l] + small(2 * l + 1) * sums[2 * l + 1]);
      for (int g = 0; g < 8; ++g) {  // 32 elements
        const int half = g / 4, part = g % 4;
        int32_t sum = 0;
        for (int i = 0; i < 4; ++i) {
          const int low = quant_at(quants, half * 16 + part % 2 * 8 + l, lane, i);
          const int high = quant_at(quants, 32 + half * 8 + l, lane, i);
          const int value = (part < 2 ? low & 15 : low >> 4) | (((high >> (2 * part)) & 3) << 4);
          sum += value * q[g * 32 + l * 4 + i];
        }
        total += small(g * 2 + l / 4) * sum;
      }
      acc[l] = std::fma(d, static_cast<float>(total), acc[l]);
    }
  }
  return sum_lanes(acc);
}

/// fp32, fp16, bf16: 32 chains.
float dot_plain(const PackedMatrix::Impl& w, const std::byte* row, const float* x) {
  float acc[kChains] = {};
  for (int64_t i = 0; i < w.blocks * kChains; ++i) {
    float value;
    if (w.type == WeightType::kF32) {
      std::memcpy(&value, row + i * 4, 4);
    } else {
      uint16_t bits;
      std::memcpy(&bits, row + i * 2, 2);
      value = w.type == WeightType::kF16 ? from_half(bits) : from_bfloat(bits);
    }
    acc[i % kChains] = std::fma(value, x[i], acc[i % kChains]);
  }
  return sum_chains(acc);
}

}  // namespace

void matmul_scalar(const PackedMatrix::Impl& w, const ActivationRows& x, float* y, int64_t stride) {
  for (int64_t o = 0; o < w.rows; ++o) {
    const std::byte* const tile = w.tile(o / kTileRows);
    const int64_t lane = o % kTileRows;
    for (int64_t r = 0; r < x.rows; ++r) {
      float& result = y[r * stride + o];
      if (!is_quantised(w.type)) {
        result = dot_plain(w, tile + lane * (w.tile_bytes / kTileRows), x.values + r * x.padded);
      } else if (w.type == WeightType::kQ4_K) {
        result = dot_q4_k(w, tile, lane, x, r);
      } else if (w.type == WeightType::kQ6_K) {
        result = dot_q6_k(w, tile, lane, x, r);
      } else {
        result = dot_32(w, tile, lane, x, r);
      }
    }
  }
}

}  // namespace shoal::infer
