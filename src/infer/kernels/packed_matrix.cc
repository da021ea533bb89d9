// Weights into tiles (packed.h).
#include <cstring>
#include <string>

#include "base/half.h"
#include "infer/kernels/packed.h"
#include "shoal/error.h"

namespace shoal::infer {
namespace {

using formats::WeightType;

/// Copies words of four bytes of row `lane` to where a tile has them.
void spread(const uint8_t* words, int64_t count, int64_t lane, std::byte* out) {
  for (int64_t w = 0; w < count; ++w) std::memcpy(out + (w * kTileRows + lane) * 4, words + w * 4, 4);
}
/// One 16-bit scale of row `lane`, number `index` of those of a block.
void put_half(const uint8_t* half, int64_t index, int64_t lane, std::byte* out) {
  std::memcpy(out + (index * kTileRows + lane) * 2, half, 2);
}

/// A block of the file: blocks begin with their scales, except those of Q6_K.
void pack_block(WeightType type, const uint8_t* block, int64_t lane, std::byte* quants, std::byte* scales) {
  switch (type) {
    case WeightType::kQ4_0:
      put_half(block, 0, lane, scales);
      spread(block + 2, 4, lane, quants);
      return;
    case WeightType::kQ4_1:
      put_half(block, 0, lane, scales);
      put_half(block + 2, 1, lane, scales);
      spread(block + 4, 4, lane, quants);
      return;
    case WeightType::kQ8_0:
      put_half(block, 0, lane, scales);
      spread(block + 2, 8, lane, quants);
      return;
    case WeightType::kQ4_K: {
      put_half(block, 0, lane, scales);
      put_half(block + 2, 1, lane, scales);
      const uint8_t* packed = block + 4;  // 8 scales and 8 minima of 6 bits
      for (int i = 0; i < 8; ++i) {
        const int scale = i < 4 ? packed[i] & 63 : (packed[i + 4] & 15) | ((packed[i - 4] >> 6) << 4);
        const int minimum = i < 4 ? packed[i + 4] & 63 : (packed[i + 4] >> 4) | ((packed[i] >> 6) << 4);
        scales[64 + i * kTileRows + lane] = static_cast<std::byte>(scale);
        scales[64 + (8 + i) * kTileRows + lane] = static_cast<std::byte>(minimum);
      }
      spread(block + 16, 32, lane, quants);
      return;
    }
    case WeightType::kQ6_K:
      put_half(block + 208, 0, lane, scales);
      for (int i = 0; i < 16; ++i) scales[32 + i * kTileRows + lane] = static_cast<std::byte>(block[192 + i]);
      for (int half = 0; half < 2; ++half) {  // 64 bytes of low halves for 32 of high bits
        for (int l = 0; l < 8; ++l) {
          std::byte* const words = quants + (half * 8 + l) * 3 * kTileRows * 4;
          spread(block + half * 64 + l * 4, 1, lane, words);
          spread(block + half * 64 + 32 + l * 4, 1, lane, words + kTileRows * 4);
          spread(block + 128 + half * 32 + l * 4, 1, lane, words + 2 * kTileRows * 4);
        }
      }
      return;
    default:
      return;
  }
}

}  // namespace

PackedMatrix::PackedMatrix() : impl_(std::make_unique<Impl>()) {}
PackedMatrix::~PackedMatrix() = default;
PackedMatrix::PackedMatrix(PackedMatrix&&) noexcept = default;
PackedMatrix& PackedMatrix::operator=(PackedMatrix&&) noexcept = default;

PackedMatrix::PackedMatrix(const formats::Weight& weight, int64_t first, int64_t count)
    : impl_(std::make_unique<Impl>()) {
  if (first < 0 || count < 0 || first + count > weight.rows) {
    throw InputError("weight - rows: got " + std::to_string(first) + " to " + std::to_string(first + count) +
                     ", want a part of " + std::to_string(weight.rows));
  }
  Impl& m = *impl_;
  m.type = weight.type;
  m.rows = count;
  m.columns = weight.columns;
  const auto* source = reinterpret_cast<const uint8_t*>(weight.data);
  const TileBlock block = tile_block(m.type);
  if (!is_quantised(m.type)) {
    const int64_t bytes = element_bytes(m.type), padded = round_up(m.columns, kChains);
    m.blocks = padded / kChains;
    m.tile_bytes = kTileRows * padded * bytes;
    m.memory = Memory::of_weights(static_cast<size_t>(m.tiles() * m.tile_bytes));
    for (int64_t r = 0; r < count; ++r) {
      std::memcpy(m.memory.data() + r * padded * bytes, source + (first + r) * m.columns * bytes,
                  static_cast<size_t>(m.columns * bytes));
    }
    return;
  }
  if (m.columns % block.elements != 0) {
    throw InputError("weight - columns: got " + std::to_string(m.columns) + ", want a multiple of " +
                     std::to_string(block.elements) + " for quantised weights");
  }
  m.blocks = m.columns / block.elements;
  m.tile_bytes = round_up(m.blocks * block.bytes(), 64);
  m.memory = Memory::of_weights(static_cast<size_t>(m.tiles() * m.tile_bytes));
  for (int64_t r = 0; r < count; ++r) {
    std::byte* tile = m.memory.data() + r / kTileRows * m.tile_bytes;
    for (int64_t b = 0; b < m.blocks; ++b) {
      pack_block(m.type, source + ((first + r) * m.blocks + b) * block.file_bytes, r % kTileRows,
                 tile + b * block.bytes() + block.scales, tile + b * block.bytes());
    }
  }
}

int64_t PackedMatrix::rows() const { return impl_->rows; }
int64_t PackedMatrix::columns() const { return impl_->columns; }
formats::WeightType PackedMatrix::type() const { return impl_->type; }
size_t PackedMatrix::bytes() const { return impl_->memory.bytes(); }

}  // namespace shoal::infer
