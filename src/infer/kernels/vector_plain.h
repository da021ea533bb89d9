// Products of weights in fp32, fp16 and bf16: a part of vector_code.h. A lane is a chain of the scalar code,
// column i being chain i % 32's; chains of different registers never meet before the end, so each register
// goes over the columns by itself, for several rows of weights and of activations at once.

template <formats::WeightType kType>
inline Floats load_weights(const std::byte* row, int64_t i) {
  if constexpr (kType == formats::WeightType::kF32)
    return load(reinterpret_cast<const float*>(row) + i);
  else if constexpr (kType == formats::WeightType::kF16)
    return load_halves(row + i * 2);
  else
    return load_bfloats(row + i * 2);
}

/// The four sums that sum_chains ends with.
inline __m128 quarter_of_chains(const Floats* acc) {
  if constexpr (kChainRegisters == 2)
    return quarter_of(acc[0] + acc[1]);
  else
    return quarter_of((acc[0] + acc[2]) + (acc[1] + acc[3]));
}
/// (t0 + t1) + (t2 + t3) of four results.
inline __m128 sums_of_quarters(const __m128* t) {
  return _mm_hadd_ps(_mm_hadd_ps(t[0], t[1]), _mm_hadd_ps(t[2], t[3]));
}
inline float sum_of_quarter(__m128 t) {
  const __m128 pairs = _mm_hadd_ps(t, t);
  return _mm_cvtss_f32(_mm_hadd_ps(pairs, pairs));
}

/// Four rows of weights, `row_bytes` apart, by kTokens rows of activations; `rows` of the four are stored.
template <formats::WeightType kType, int kTokens>
inline void plain_rows(const std::byte* weights, int64_t row_bytes, int64_t rows, const ActivationRows& x,
                       int64_t first, float* y, int64_t stride) {
  constexpr int kRows = 4;
  Floats chains[kTokens][kRows][kChainRegisters];
  for (int64_t c = 0; c < kChainRegisters; ++c) {
    Floats acc[kTokens][kRows];
    for (int t = 0; t < kTokens; ++t)
      for (int o = 0; o < kRows; ++o) acc[t][o] = all(0.0f);
    for (int64_t i = c * kWidth; i < x.padded; i += kChains) {
      Floats w[kRows];
      for (int o = 0; o < kRows; ++o) w[o] = load_weights<kType>(weights + o * row_bytes, i);
      for (int t = 0; t < kTokens; ++t) {
        const Floats value = load(x.values + (first + t) * x.padded + i);
        for (int o = 0; o < kRows; ++o) acc[t][o] = fma_of(w[o], value, acc[t][o]);
      }
    }
    for (int t = 0; t < kTokens; ++t)
      for (int o = 0; o < kRows; ++o) chains[t][o][c] = acc[t][o];
  }
  for (int t = 0; t < kTokens; ++t) {
    __m128 quarters[kRows];
    for (int o = 0; o < kRows; ++o) quarters[o] = quarter_of_chains(chains[t][o]);
    float sums[kRows];
    _mm_storeu_ps(sums, sums_of_quarters(quarters));
    for (int64_t o = 0; o < rows; ++o) y[(first + t) * stride + o] = sums[o];
  }
}

/// One row of activations, for which memory is the limit: it is read from one end to the other.
template <formats::WeightType kType>
inline float plain_row(const std::byte* weights, const float* x, int64_t columns) {
  Floats acc[kChainRegisters];
  for (int64_t c = 0; c < kChainRegisters; ++c) acc[c] = all(0.0f);
  for (int64_t i = 0; i < columns; i += kChains)
    for (int64_t c = 0; c < kChainRegisters; ++c)
      acc[c] = fma_of(load_weights<kType>(weights, i + c * kWidth), load(x + i + c * kWidth), acc[c]);
  return sum_of_quarter(quarter_of_chains(acc));
}

template <formats::WeightType kType>
void matmul_plain(const PackedMatrix::Impl& w, const ActivationRows& x, float* y, int64_t stride) {
  const int64_t row_bytes = w.tile_bytes / kTileRows;
  if (x.rows == 1) {
    for (int64_t o = 0; o < w.rows; ++o)
      y[o] = plain_row<kType>(w.tile(0) + o * row_bytes, x.values, x.padded);
    return;
  }
  for (int64_t o = 0; o < w.rows; o += 4) {  // tiles are whole, so rows behind the last one can be read
    const std::byte* const weights = w.tile(0) + o * row_bytes;
    const int64_t rows = w.rows - o < 4 ? w.rows - o : 4;
    int64_t r = 0;
    for (; r + kPlainTokens <= x.rows; r += kPlainTokens)
      plain_rows<kType, kPlainTokens>(weights, row_bytes, rows, x, r, y + o, stride);
    for (; r + 2 <= x.rows; r += 2) plain_rows<kType, 2>(weights, row_bytes, rows, x, r, y + o, stride);
    for (; r < x.rows; ++r) plain_rows<kType, 1>(weights, row_bytes, rows, x, r, y + o, stride);
  }
}
