// How weights and activations lie in memory for the products; the scalar code reads the same bytes as the
// rest.
//
// Weights: tiles of 16 rows, the last one filled up with zeros.
// - Quantised: a tile is all its blocks' quants, then all their scales. The quants of a block are words of
// four
//   bytes as the file has them, word by word of all 16 rows: word w of row r stands at (w * 16 + r) * 4. So a
//   register of 16 words holds one word of each row, and lane r of an accumulator is row r's alone. The sums
//   of ggml go over eight lanes of four products, which are these words. Scales of a block likewise: one of
//   each row, then the next. Bytes of Q8_0 have their highest bit turned: they are value + 128.
// - fp32, fp16, bf16: row after row, each filled up with zeros to a multiple of 32 columns.
//
// Activations: row after row.
#pragma once

#include <cstdint>

#include "formats/model_file.h"
#include "infer/kernels/kernels.h"
#include "infer/kernels/memory.h"

namespace shoal::infer {

inline constexpr int64_t kTileRows = 16;
inline constexpr int64_t kChains = 32;  // of a product of numbers that are not quantised

constexpr int64_t round_up(int64_t value, int64_t step) { return (value + step - 1) / step * step; }

/// A block of a row, and what 16 rows' blocks take of a tile, in bytes.
struct TileBlock {
  int64_t quants, scales;
  int64_t elements, file_bytes;
};
constexpr TileBlock tile_block(formats::WeightType type) {
  using enum formats::WeightType;
  switch (type) {
    case kQ4_0:
      return {4 * 64, 32, 32, 18};  // scales: d
    case kQ4_1:
      return {4 * 64, 64, 32, 20};  // d, m
    case kQ8_0:
      return {8 * 64, 32, 32, 34};  // d
    case kQ4_K:
      return {32 * 64, 64 + 256, 256, 144};  // d, dmin, 8 scales, 8 minima, a byte each
    case kQ6_K:
      return {48 * 64, 32 + 256, 256, 210};  // quants: 32 words of low halves, 16 of high bits; d, 16 scales
    default:
      return {0, 0, 0, 0};
  }
}
constexpr bool is_quantised(formats::WeightType type) { return tile_block(type).quants != 0; }
constexpr int64_t element_bytes(formats::WeightType type) {
  return type == formats::WeightType::kF32 ? 4 : 2;
}

struct PackedMatrix::Impl {
  formats::WeightType type = formats::WeightType::kF32;
  int64_t rows = 0, columns = 0;
  int64_t blocks = 0;                        // of a row; of 32 columns where the type has no blocks
  int64_t quants_bytes = 0, tile_bytes = 0;  // quants_bytes: where in a tile the scales begin
  Memory memory;
  int64_t tiles() const { return (rows + kTileRows - 1) / kTileRows; }
  const std::byte* tile(int64_t index) const { return memory.data() + index * tile_bytes; }
};

/// What the products read of activations.
struct ActivationRows {
  int64_t rows = 0, columns = 0, blocks = 0;
  int64_t padded = 0;          // columns and zeros, of `values`
  float* values = nullptr;     // [rows, padded]: fp32, or rounded to fp16
  int8_t* quants = nullptr;    // [rows, columns]
  float* scales = nullptr;     // [rows, blocks]: d
  float* sums = nullptr;       // [rows, blocks]: s of q8_1
  int32_t* offsets = nullptr;  // [rows, columns / 4]: minus what a word's products are too large by, since
                               // weights are stored with an offset (8 of Q4_0, 128 of Q8_0)
  int16_t* block_sums = nullptr;  // [rows, blocks, 16]: of q8_K, of 16 quants each
};

struct Activations::Impl {
  formats::WeightType type = formats::WeightType::kF32;
  ActivationRows view;
  Memory memory;
};

}  // namespace shoal::infer
