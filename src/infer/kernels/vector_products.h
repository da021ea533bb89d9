// Products of quantised weights over registers of kWidth rows: a part of vector_code.h.

inline int32_t word_at(const int8_t* quants, int64_t word) {
  int32_t value;
  __builtin_memcpy(&value, quants + word * 4, 4);
  return value;
}

inline Floats sum_of_lanes(const Floats* a) {
  const Floats t0 = a[4] + a[0], t1 = a[5] + a[1], t2 = a[6] + a[2], t3 = a[7] + a[3];
  return (t0 + t2) + (t1 + t3);
}

/// kParts registers of rows of a tile, from `part` on, by kTokens rows of activations.
template <formats::WeightType kType, int kTokens, int kParts>
inline void product_32(const PackedMatrix::Impl& w, const std::byte* tile, int64_t part,
                       const ActivationRows& x, int64_t first, Floats (*results)[kTokens]) {
  using enum formats::WeightType;
  constexpr TileBlock kSize = tile_block(kType);
  Floats all_acc[kParts][kTokens][8], all_sums[kParts][kTokens];
  for (int p = 0; p < kParts; ++p) {
    for (int t = 0; t < kTokens; ++t) {
      all_sums[p][t] = all(0.0f);
      for (int l = 0; l < 8; ++l) all_acc[p][t][l] = all(0.0f);
    }
  }
  const auto add_block = [&](int64_t b, int p) __attribute__((always_inline)) {
    const std::byte* const quants = tile + b * kSize.bytes() + kSize.scales + (part + p) * kWidth * 4;
    const std::byte* const scales = tile + b * kSize.bytes() + (part + p) * kWidth * 2;
    Floats(*const acc)[8] = all_acc[p];
    Floats* const sums = all_sums[p];
    Floats d[kTokens];
    for (int t = 0; t < kTokens; ++t) {
      const int64_t at = (first + t) * x.blocks + b;
      d[t] = load_halves(scales) * all(x.scales[at]);
      if constexpr (kType == kQ4_1)
        sums[t] = fma_of(load_halves(scales + kTileRows * 2), all(x.sums[at]), sums[t]);
    }
    const auto add_lane = [&](int l, Ints word) {
      const auto signed_bytes = [&] {
        if constexpr (kType == kQ8_0) return signed_word(word);
        return SignedWord{};
      }();
      for (int t = 0; t < kTokens; ++t) {
        const int64_t at = (first + t) * x.columns + b * 32;
        Ints sum;
        if constexpr (kType == kQ8_0) {
          sum = dot_signed(signed_bytes, x.quants + at, x.turned + at, l);
        } else {
          const Ints begin = all_ints(kType == kQ4_0 ? x.offsets[at / 4 + l] : 0);
          sum = dot_small(begin, word, all_ints(word_at(x.quants + at, l)));
        }
        acc[t][l] = fma_of(d[t], to_floats(sum), acc[t][l]);
      }
    };
    for (int l = 0; l < kSize.quants / 64; ++l) {
      const Ints word = load_ints(quants + l * 64);
      if constexpr (kType == kQ8_0) {
        add_lane(l, word);
      } else {
        add_lane(l, word & 0x0f0f0f0f);
        add_lane(l + 4, (word >> 4) & 0x0f0f0f0f);
      }
    }
  };
  for (int64_t b = 0; b < w.blocks; ++b)
    for (int p = 0; p < kParts; ++p) add_block(b, p);
  for (int p = 0; p < kParts; ++p) {
    for (int t = 0; t < kTokens; ++t) {
      const Floats sum = sum_of_lanes(all_acc[p][t]);
      results[p][t] = kType == kQ4_1 ? sum + all_sums[p][t] : sum;
    }
  }
}

#include "infer/kernels/vector_blocks_256.h"

/// Rows [part * kWidth, rows) of a tile, at most kParts registers of them.
template <formats::WeightType kType, int kTokens, int kParts>
inline void product(const PackedMatrix::Impl& w, const std::byte* tile, int64_t part, const ActivationRows& x,
                    int64_t first, float* y, int64_t stride, int64_t rows) {
  Floats results[kParts][kTokens];
  if constexpr (tile_block(kType).elements == 256)
    product_256<kType, kTokens, kParts>(w, tile, part, x, first, results);
  else
    product_32<kType, kTokens, kParts>(w, tile, part, x, first, results);
  for (int64_t p = 0; p < kParts; ++p) {
    const int64_t o = (part + p) * kWidth, left = rows - o < kWidth ? rows - o : kWidth;
    if (left <= 0) break;
    for (int t = 0; t < kTokens; ++t) store_some(y + (first + t) * stride + o, results[p][t], left);
  }
}

/// What comes next from memory, where the CPU does not guess it.
inline void expect(const std::byte* from, int64_t bytes) {
  for (int64_t i = 0; i < bytes; i += 64) __builtin_prefetch(from + i, 0, 2);
}

template <formats::WeightType kType>
void matmul_quantised(const PackedMatrix::Impl& w, const ActivationRows& x, float* y, int64_t stride) {
  for (int64_t index = 0; index < w.tiles(); ++index, y += kTileRows) {
    const std::byte* const tile = w.tile(index);
    const int64_t left = w.rows - index * kTileRows, rows = left < kTileRows ? left : kTileRows;
    if (x.rows == 1) {  // memory is the limit: it is read from one end to the other
      product<kType, 1, kRegisters>(w, tile, 0, x, 0, y, stride, rows);
      continue;
    }
    const int64_t share = round_up(w.tile_bytes * kTokensAtOnce / x.rows, 64);
    for (int64_t part = 0; part * kWidth < rows; ++part) {
      int64_t r = 0;
      for (; r + kTokensAtOnce <= x.rows; r += kTokensAtOnce) {
        // The next tile comes while this one is in the cache.
        if (part == 0 && x.rows > 2) expect(tile + w.tile_bytes + r / kTokensAtOnce * share, share);
        product<kType, kTokensAtOnce, 1>(w, tile, part, x, r, y, stride, rows);
      }
      for (; r < x.rows; ++r) product<kType, 1, 1>(w, tile, part, x, r, y, stride, rows);
    }
  }
}
