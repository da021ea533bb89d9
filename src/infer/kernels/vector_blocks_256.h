// Products of weights in blocks of 256 (Q4_K, Q6_K) over registers of kWidth rows: a part of vector_code.h.
//
// A lane's sum over a block is of whole numbers: four products, which fit 16 bits, times the scale of their group.
// So a product of 16-bit halves adds it: of a scale the upper half is 0, whatever the sum's is.

/// Two whole numbers of 16 bits in each lane, `low` in the lower half.
inline Ints halves_of(Ints low, Ints high) { return (low & 0xffff) | (high << 16); }
inline int32_t halves_of(int low, int high) {
  return static_cast<int32_t>((static_cast<uint32_t>(low) & 0xffffu) | static_cast<uint32_t>(high) << 16);
}

/// Where the numbers of a block lie that are those of kWidth rows from `lane` on.
struct BlockOf256 {
  const std::byte *quants, *scales;
  int64_t lane;
  Ints word(int64_t index) const { return load_ints(quants + (index * kTileRows + lane) * 4); }
  Floats half(int64_t index) const { return load_halves(scales + (index * kTileRows + lane) * 2); }
  Ints byte(int64_t begin, int64_t index) const { return load_bytes(scales + begin + index * kTileRows + lane); }
  Ints signed_byte(int64_t begin, int64_t index) const { return (byte(begin, index) << 24) >> 24; }
};

/// The same of a row of activations.
struct BlockOfRow {
  const int8_t* quants;
  const int16_t* sums;  // of 16 quants each
  float scale;
  Ints word(int64_t index) const { return all_ints(word_at(quants, index)); }
};
inline BlockOfRow block_of_row(const ActivationRows& x, int64_t row, int64_t b) {
  return {x.quants + row * x.columns + b * 256, x.block_sums + (row * x.blocks + b) * 16, x.scales[row * x.blocks + b]};
}

template <int kTokens>
inline void block_q4_k(const BlockOf256& w, const BlockOfRow* x, Floats (*acc)[8], Floats (*minima)[4]) {
  Ints total[kTokens][8];
  for (int t = 0; t < kTokens; ++t)
    for (int l = 0; l < 8; ++l) total[t][l] = all_ints(0);
  for (int j = 0; j < 4; ++j) {
    const Ints first = w.byte(64, 2 * j), second = w.byte(64, 2 * j + 1);  // scales of two groups
    for (int l = 0; l < 8; ++l) {
      const Ints both = w.word(j * 8 + l), low = both & 0x0f0f0f0f, high = (both >> 4) & 0x0f0f0f0f;
      for (int t = 0; t < kTokens; ++t) {
        total[t][l] = add_halves(total[t][l], dot_small(all_ints(0), low, x[t].word(j * 16 + l)), first);
        total[t][l] = add_halves(total[t][l], dot_small(all_ints(0), high, x[t].word(j * 16 + 8 + l)), second);
      }
    }
  }
  for (int t = 0; t < kTokens; ++t) {
    const Floats d = all(x[t].scale) * w.half(0), dmin = all(-x[t].scale) * w.half(1);
    for (int l = 0; l < 8; ++l) acc[t][l] = fma_of(d, to_floats(total[t][l]), acc[t][l]);
    for (int i = 0; i < 4; ++i) {
      const int16_t* const s = x[t].sums + 4 * i;
      const Ints least = halves_of(w.byte(64, 8 + 2 * i), w.byte(64, 9 + 2 * i));
      const Ints product = add_halves(all_ints(0), least, all_ints(halves_of(s[0] + s[1], s[2] + s[3])));
      minima[t][i] = fma_of(dmin, to_floats(product), minima[t][i]);
    }
  }
}

template <int kTokens>
inline void block_q6_k(const BlockOf256& w, const BlockOfRow* x, Floats (*acc)[8]) {
  Ints total[kTokens][8], scale[16];
  for (int i = 0; i < 16; ++i) scale[i] = w.signed_byte(32, i);
  for (int l = 0; l < 8; ++l) {  // what the offset of 32 amounts to
    const Ints two = halves_of(scale[2 * l], scale[2 * l + 1]);
    for (int t = 0; t < kTokens; ++t) {
      const Ints sums = all_ints(halves_of(x[t].sums[2 * l], x[t].sums[2 * l + 1]));
      total[t][l] = all_ints(0) - (add_halves(all_ints(0), two, sums) << 5);
    }
  }
  for (int half = 0; half < 2; ++half) {
    for (int l = 0; l < 8; ++l) {
      const Ints one = w.word(half * 16 + l), other = w.word(half * 16 + 8 + l), high = w.word(32 + half * 8 + l);
      const Ints quants[4] = {(one & 0x0f0f0f0f) | ((high << 4) & 0x30303030),
                              (other & 0x0f0f0f0f) | ((high << 2) & 0x30303030),
                              ((one >> 4) & 0x0f0f0f0f) | (high & 0x30303030),
                              ((other >> 4) & 0x0f0f0f0f) | ((high >> 2) & 0x30303030)};
      for (int part = 0; part < 4; ++part) {
        const int g = half * 4 + part;
        const Ints own = scale[g * 2 + l / 4] & 0xffff;
        for (int t = 0; t < kTokens; ++t)
          total[t][l] = add_halves(total[t][l], dot_small(all_ints(0), quants[part], x[t].word(g * 8 + l)), own);
      }
    }
  }
  for (int t = 0; t < kTokens; ++t) {
    const Floats d = all(x[t].scale) * w.half(0);
    for (int l = 0; l < 8; ++l) acc[t][l] = fma_of(d, to_floats(total[t][l]), acc[t][l]);
  }
}

/// A register of rows of a tile by kTokens rows of activations.
template <formats::WeightType kType, int kTokens>
inline void product_256(const PackedMatrix::Impl& w, const std::byte* tile, int64_t part, const ActivationRows& x,
                        int64_t first, Floats* results) {
  constexpr TileBlock kSize = tile_block(kType);
  Floats acc[kTokens][8], minima[kTokens][4];
  for (int t = 0; t < kTokens; ++t) {
    for (int l = 0; l < 8; ++l) acc[t][l] = all(0.0f);
    for (int i = 0; i < 4; ++i) minima[t][i] = all(0.0f);
  }
  for (int64_t b = 0; b < w.blocks; ++b) {
    const BlockOf256 block{tile + b * kSize.quants, tile + w.quants_bytes + b * kSize.scales, part * kWidth};
    BlockOfRow rows[kTokens];
    for (int t = 0; t < kTokens; ++t) rows[t] = block_of_row(x, first + t, b);
    if constexpr (kType == formats::WeightType::kQ4_K)
      block_q4_k<kTokens>(block, rows, acc, minima);
    else
      block_q6_k<kTokens>(block, rows, acc);
  }
  for (int t = 0; t < kTokens; ++t) {
    const Floats sum = sum_of_lanes(acc[t]);
    const Floats* const m = minima[t];
    results[t] = kType == formats::WeightType::kQ4_K ? sum + ((m[0] + m[2]) + (m[1] + m[3])) : sum;
  }
}
