// The kernels over registers of kWidth floats, for every instruction set that has such: a file of one defines kWidth,
// Floats, Ints and a few functions on them, includes this inside of its own nameless namespace, and makes a table of
// it. Lanes are rows of a tile in products, tokens of a page in attention, so that the order in which an element is
// summed is the scalar code's (matmul_scalar.cc, attention_scalar.cc), to the bit.
//
// No #pragma once: it is a part of the file that includes it.

constexpr int64_t kRegisters = kTileRows / kWidth;   // for the rows of a tile, or the tokens of a page
constexpr int64_t kChainRegisters = kChains / kWidth;

// --- e^x (exp.h) ---

inline Floats exp_of(Floats x) {
  const Floats rounder = all(0x1.8p23f);
  const Floats z = fma_of(x, all(0x1.715476p+0f), rounder), n = z - rounder, minus_n = all(0.0f) - n;
  const Floats b = fma_of(minus_n, all(0x1.7f7d1cp-20f), fma_of(minus_n, all(0x1.62e4p-1f), x));
  const Ints e = (Ints)z << 23;
  const Floats k = (Floats)(e + (Ints)all(1.0f)), u = b * b;
  const Floats j = fma_of(fma_of(fma_of(all(0x1.0e4020p-7f), b, all(0x1.573e2ep-5f)), u,
                                 fma_of(all(0x1.555e66p-3f), b, all(0x1.fffdb6p-2f))),
                          u, all(0x1.ffffecp-1f) * b);
  const Floats size = (Floats)((Ints)n & 0x7fffffff), usual = fma_of(j, k, k);
  const Ints g = n <= all(0.0f) ? all_ints(static_cast<int32_t>(0x82000000u)) : all_ints(0);
  const Floats s1 = (Floats)(g + 0x7f000000), s2 = (Floats)(e - g);
  const Floats far = size > all(192.0f) ? s1 * s1 : fma_of(s2, j, s2) * s1;
  return size > all(126.0f) ? far : usual;
}

template <class Function>
inline void for_each_register(int64_t count, const Function& function) {
  int64_t i = 0;
  for (; i + kWidth <= count; i += kWidth) function(i, kWidth);
  if (i < count) function(i, count - i);
}
inline Floats load_some(const float* from, int64_t count) {
  if (count == kWidth) return load(from);
  float some[kWidth] = {};
  __builtin_memcpy(some, from, static_cast<size_t>(count) * 4);
  return load(some);
}
inline void store_some(float* to, Floats value, int64_t count) {
  if (count == kWidth) return store(to, value);
  float some[kWidth];
  store(some, value);
  __builtin_memcpy(to, some, static_cast<size_t>(count) * 4);
}

void silu_times_vector(const float* gate, const float* up, int64_t count, float* out) {
  for_each_register(count, [&](int64_t i, int64_t some) {
    const Floats x = load_some(gate + i, some);
    store_some(out + i, x / (all(1.0f) + exp_of(all(0.0f) - x)) * load_some(up + i, some), some);
  });
}

void gelu_vector(const float* x, int64_t count, float* out) {
  for_each_register(count, [&](int64_t i, int64_t some) {
    const Floats v = load_some(x + i, some), inner = fma_of(all(0.044715f), v * v * v, v);
    store_some(out + i, v / (all(1.0f) + exp_of(inner * all(-1.5957691216057308f))), some);
  });
}

// --- Products ---

inline int32_t word_at(const int8_t* quants, int64_t word) {
  int32_t value;
  __builtin_memcpy(&value, quants + word * 4, 4);
  return value;
}

inline Floats sum_of_lanes(const Floats* a) {
  const Floats t0 = a[4] + a[0], t1 = a[5] + a[1], t2 = a[6] + a[2], t3 = a[7] + a[3];
  return (t0 + t2) + (t1 + t3);
}

/// A register of rows of a tile by kTokens rows of activations.
template <formats::WeightType kType, int kTokens>
inline void product_32(const PackedMatrix::Impl& w, const std::byte* tile, int64_t part, const ActivationRows& x,
                       int64_t first, Floats* results) {
  using enum formats::WeightType;
  constexpr TileBlock kSize = tile_block(kType);
  Floats acc[kTokens][8], sums[kTokens];
  for (int t = 0; t < kTokens; ++t) {
    sums[t] = all(0.0f);
    for (int l = 0; l < 8; ++l) acc[t][l] = all(0.0f);
  }
  for (int64_t b = 0; b < w.blocks; ++b) {
    const std::byte* const quants = tile + b * kSize.quants + part * kWidth * 4;
    const std::byte* const scales = tile + w.quants_bytes + b * kSize.scales + part * kWidth * 2;
    Ints words[8];
    if constexpr (kType == kQ8_0) {
      for (int l = 0; l < 8; ++l) words[l] = load_ints(quants + l * 64);
    } else {
      for (int l = 0; l < 4; ++l) {
        const Ints both = load_ints(quants + l * 64);
        words[l] = both & 0x0f0f0f0f;
        words[l + 4] = (both >> 4) & 0x0f0f0f0f;
      }
    }
    const Floats scale = load_halves(scales);
    for (int t = 0; t < kTokens; ++t) {
      const int64_t r = first + t;
      const int8_t* const q = x.quants + r * x.columns + b * 32;
      const Floats d = scale * all(x.scales[r * x.blocks + b]);
      if constexpr (kType == kQ4_1)
        sums[t] = fma_of(load_halves(scales + kTileRows * 2), all(x.sums[r * x.blocks + b]), sums[t]);
      for (int l = 0; l < 8; ++l) {
        const Ints quant = all_ints(word_at(q, l));
        Ints sum;
        if constexpr (kType == kQ4_1)
          sum = dot_small(all_ints(0), words[l], quant);
        else if constexpr (kType == kQ4_0)
          sum = dot_small(all_ints(x.offsets[r * (x.columns / 4) + b * 8 + l]), words[l], quant);
        else
          sum = dot_turned(all_ints(x.offsets[r * (x.columns / 4) + b * 8 + l]), words[l], quant);
        acc[t][l] = fma_of(d, to_floats(sum), acc[t][l]);
      }
    }
  }
  for (int t = 0; t < kTokens; ++t) {
    const Floats sum = sum_of_lanes(acc[t]);
    results[t] = kType == kQ4_1 ? sum + sums[t] : sum;
  }
}

#include "infer/kernels/vector_blocks_256.h"

template <formats::WeightType kType, int kTokens>
inline void product(const PackedMatrix::Impl& w, int64_t tile, int64_t part, const ActivationRows& x, int64_t first,
                    float* y, int64_t stride, int64_t rows) {
  Floats results[kTokens];
  if constexpr (tile_block(kType).elements == 256)
    product_256<kType, kTokens>(w, w.tile(tile), part, x, first, results);
  else
    product_32<kType, kTokens>(w, w.tile(tile), part, x, first, results);
  for (int t = 0; t < kTokens; ++t) store_some(y + (first + t) * stride, results[t], rows);
}

template <formats::WeightType kType>
void matmul_quantised(const PackedMatrix::Impl& w, const ActivationRows& x, float* y, int64_t stride) {
  for (int64_t tile = 0; tile < w.tiles(); ++tile) {
    for (int64_t part = 0; part < kRegisters; ++part) {
      const int64_t o = tile * kTileRows + part * kWidth, left = w.rows - o < kWidth ? w.rows - o : kWidth;
      if (left <= 0) break;
      int64_t r = 0;
      for (; r + kTokensAtOnce <= x.rows; r += kTokensAtOnce)
        product<kType, kTokensAtOnce>(w, tile, part, x, r, y + o, stride, left);
      for (; r < x.rows; ++r) product<kType, 1>(w, tile, part, x, r, y + o, stride, left);
    }
  }
}

template <formats::WeightType kType>
inline Floats load_weights(const std::byte* row, int64_t i) {
  if constexpr (kType == formats::WeightType::kF32)
    return load(reinterpret_cast<const float*>(row) + i);
  else if constexpr (kType == formats::WeightType::kF16)
    return load_halves(row + i * 2);
  else
    return load_bfloats(row + i * 2);
}

inline float sum_of_chains(const Floats* acc) {
  float chains[kChains], t[4];
  for (int64_t c = 0; c < kChainRegisters; ++c) store(chains + c * kWidth, acc[c]);
  for (int i = 0; i < 4; ++i) {
    const float low = (chains[i] + chains[i + 16]) + (chains[i + 8] + chains[i + 24]);
    const float high = (chains[i + 4] + chains[i + 20]) + (chains[i + 12] + chains[i + 28]);
    t[i] = low + high;
  }
  return (t[0] + t[1]) + (t[2] + t[3]);
}

template <formats::WeightType kType, int kTokens>
inline void plain_rows(const std::byte* row, const ActivationRows& x, int64_t first, float* y, int64_t stride) {
  Floats acc[kTokens][kChainRegisters];
  for (int t = 0; t < kTokens; ++t)
    for (int64_t c = 0; c < kChainRegisters; ++c) acc[t][c] = all(0.0f);
  for (int64_t i = 0; i < x.padded; i += kChains) {
    for (int64_t c = 0; c < kChainRegisters; ++c) {
      const Floats weights = load_weights<kType>(row, i + c * kWidth);
      for (int t = 0; t < kTokens; ++t)
        acc[t][c] = fma_of(weights, load(x.values + (first + t) * x.padded + i + c * kWidth), acc[t][c]);
    }
  }
  for (int t = 0; t < kTokens; ++t) y[(first + t) * stride] = sum_of_chains(acc[t]);
}

template <formats::WeightType kType>
void matmul_plain(const PackedMatrix::Impl& w, const ActivationRows& x, float* y, int64_t stride) {
  constexpr int kTokens = 4;
  for (int64_t o = 0; o < w.rows; ++o) {
    const std::byte* const row = w.tile(o / kTileRows) + o % kTileRows * (w.tile_bytes / kTileRows);
    int64_t r = 0;
    for (; r + kTokens <= x.rows; r += kTokens) plain_rows<kType, kTokens>(row, x, r, y + o, stride);
    for (; r < x.rows; ++r) plain_rows<kType, 1>(row, x, r, y + o, stride);
  }
}

void matmul_vector(const PackedMatrix::Impl& w, const ActivationRows& x, float* y, int64_t stride) {
  using enum formats::WeightType;
  switch (w.type) {
    case kF32:
      return matmul_plain<kF32>(w, x, y, stride);
    case kF16:
      return matmul_plain<kF16>(w, x, y, stride);
    case kBF16:
      return matmul_plain<kBF16>(w, x, y, stride);
    case kQ8_0:
      return matmul_quantised<kQ8_0>(w, x, y, stride);
    case kQ4_0:
      return matmul_quantised<kQ4_0>(w, x, y, stride);
    case kQ4_1:
      return matmul_quantised<kQ4_1>(w, x, y, stride);
    case kQ4_K:
      return matmul_quantised<kQ4_K>(w, x, y, stride);
    case kQ6_K:
      return matmul_quantised<kQ6_K>(w, x, y, stride);
  }
}

// --- Attention ---

inline Floats load_cache(CacheType type, const std::byte* at, int64_t index) {
  return type == CacheType::kF16 ? load_halves(at + index * 2) : load(reinterpret_cast<const float*>(at) + index);
}
inline Floats rounded(CacheType type, Floats value) { return type == CacheType::kF16 ? through_halves(value) : value; }

/// Scores of kWidth tokens of a page: 32 chains over the elements, added as sum_chains does.
inline Floats scores_of(const CacheView& cache, const std::byte* keys, int64_t lane, const float* query) {
  Floats t[4];
  for (int64_t i = 0; i < 4; ++i) {
    const auto chain = [&](int64_t c) {
      Floats sum = all(0.0f);
      for (int64_t e = c; e < cache.padded; e += kChains)
        sum = fma_of(all(query[e]), load_cache(cache.type, keys, e * kPageTokens + lane), sum);
      return sum;
    };
    const Floats low = (chain(i) + chain(i + 16)) + (chain(i + 8) + chain(i + 24));
    const Floats high = (chain(i + 4) + chain(i + 20)) + (chain(i + 12) + chain(i + 28));
    t[i] = low + high;
  }
  return (t[0] + t[1]) + (t[2] + t[3]);
}

/// Which of kWidth tokens from `first` on are in [begin, end).
inline Ints seen_lanes(int64_t first, int64_t begin, int64_t end) {
  const Ints token = lane_numbers() + static_cast<int32_t>(first);
  return (token >= static_cast<int32_t>(begin)) & (token < static_cast<int32_t>(end));
}

/// Weights of keys out of scores, in place; `count` is a multiple of 32, number 0 is token `base`.
inline void softmax(CacheType type, float* weights, int64_t count, int64_t base, int64_t begin, int64_t end,
                    float largest) {
  for (int64_t i = 0; i < count; i += kWidth) {
    const Floats e = exp_of(load(weights + i) - all(largest));
    store(weights + i, seen_lanes(base + i, begin, end) != 0 ? e : all(0.0f));
  }
  double sum = 0;
  for (int64_t i = 0; base + i < end; i += 8) {
    const float* const w = weights + i;
    sum += static_cast<double>(((w[4] + w[0]) + (w[6] + w[2])) + ((w[5] + w[1]) + (w[7] + w[3])));
  }
  const Floats inverse = all(static_cast<float>(1.0 / sum));
  for (int64_t i = 0; i < count; i += kWidth) store(weights + i, rounded(type, load(weights + i) * inverse));
}

/// kElements elements of the result from `i` on: 32 chains over the tokens.
template <int kElements>
inline void values_of(const CacheView& cache, const AttentionRows& s, int64_t head, const float* weights, int64_t base,
                      int64_t begin, int64_t end, int64_t i, float* out) {
  Floats acc[kElements][kChainRegisters];
  for (int e = 0; e < kElements; ++e)
    for (int64_t c = 0; c < kChainRegisters; ++c) acc[e][c] = all(0.0f);
  for (int64_t page = begin / kPageTokens; page * kPageTokens < end; ++page) {
    const std::byte* const values = cache.values(s.pages[page], head);
    for (int64_t half = 0; half < kRegisters; ++half) {
      const int64_t first = page * kPageTokens + half * kWidth;
      if (first >= end) break;
      const int64_t c = first % kChains / kWidth;
      const Floats weight = load(weights + (first - base));
      const bool is_whole = first >= begin && first + kWidth <= end;
      const Ints seen = seen_lanes(first, begin, end);
      for (int e = 0; e < kElements; ++e) {
        const Floats sum =
            fma_of(weight, load_cache(cache.type, values, (i + e) * kPageTokens + half * kWidth), acc[e][c]);
        acc[e][c] = is_whole ? sum : (seen != 0 ? sum : acc[e][c]);
      }
    }
  }
  for (int e = 0; e < kElements; ++e) out[e] = sum_of_chains(acc[e]);
}

void attention_vector(const CacheView& cache, const AttentionRows* sequences, int64_t count, const float* queries,
                      int64_t query_stride, int64_t heads, int64_t window, float* out, int64_t out_stride) {
  constexpr int kElements = 4;
  const int64_t n = cache.head_width, group = heads / cache.kv_heads;
  const Floats scale = all(1.0f / __builtin_sqrtf(static_cast<float>(n)));
  int64_t longest = 0;
  for (int64_t s = 0; s < count; ++s) longest = sequences[s].length > longest ? sequences[s].length : longest;
  // Nothing of a class or a template of others: what this file makes of it, others would be linked to.
  const auto query_bytes = static_cast<size_t>(cache.padded) * 4;
  const auto weight_bytes = static_cast<size_t>(round_up(longest + kChains, kChains)) * 4;
  auto* const query = static_cast<float*>(::operator new(query_bytes + weight_bytes, std::align_val_t{64}));
  __builtin_memset(query, 0, query_bytes);
  float* const weights = query + cache.padded;
  for (const AttentionRows* s = sequences; s != sequences + count; ++s) {
    for (int64_t row = 0; row < s->rows; ++row) {
      const int64_t end = s->length - s->rows + row + 1, begin = window > 0 && end > window ? end - window : 0;
      const int64_t base = begin / kChains * kChains, numbers = round_up(end - base, kChains);
      for (int64_t h = 0; h < heads; ++h) {
        const float* const q = queries + (s->first_row + row) * query_stride + h * n;
        for_each_register(n, [&](int64_t i, int64_t some) {
          store(query + i, rounded(cache.type, load_some(q + i, some)));
        });
        float largest = -__builtin_inff();
        for (int64_t page = begin / kPageTokens; page * kPageTokens < end; ++page)
          for (int64_t half = 0; half < kRegisters; ++half)
            store(weights + (page * kPageTokens + half * kWidth - base),
                  scores_of(cache, cache.keys(s->pages[page], h / group), half * kWidth, query) * scale);
        for (int64_t t = begin; t < end; ++t)
          largest = largest < weights[t - base] ? weights[t - base] : largest;
        softmax(cache.type, weights, numbers, base, begin, end, largest);
        float* const result = out + (s->first_row + row) * out_stride + h * n;
        int64_t i = 0;
        for (; i + kElements <= n; i += kElements)
          values_of<kElements>(cache, *s, h / group, weights, base, begin, end, i, result + i);
        for (; i < n; ++i) values_of<1>(cache, *s, h / group, weights, base, begin, end, i, result + i);
      }
    }
  }
  ::operator delete(query, std::align_val_t{64});
}

// --- Activations ---

/// Blocks of 32; the rest is the plain code's.
void activations_vector(formats::WeightType type, const float* x, int64_t stride, const ActivationRows& out) {
  if (out.values != nullptr || out.block_sums != nullptr) return kScalarCode.activations(type, x, stride, out);
  const int64_t n = out.columns;
  for (int64_t r = 0; r < out.rows; ++r, x += stride) {
    int8_t* const quants = out.quants + r * n;
    for (int64_t b = 0; b < out.blocks; ++b) {
      float sizes[kWidth], largest = 0;
      Floats most = all(0.0f);
      for (int64_t i = 0; i < 32; i += kWidth) {
        const Floats size = (Floats)((Ints)load(x + b * 32 + i) & 0x7fffffff);
        most = most < size ? size : most;
      }
      store(sizes, most);
      for (const float size : sizes) largest = largest < size ? size : largest;
      const float d = largest / 127.0f, inverse = largest != 0 ? 127.0f / largest : 0.0f;
      int32_t whole[32], sum = 0;
      for (int64_t i = 0; i < 32; i += kWidth) store_nearest(whole + i, load(x + b * 32 + i) * all(inverse));
      for (int i = 0; i < 32; ++i) sum += whole[i];
      for (int i = 0; i < 32; ++i) quants[b * 32 + i] = static_cast<int8_t>(whole[i]);
      out.scales[r * out.blocks + b] = half_and_back(d);
      if (out.sums != nullptr) out.sums[r * out.blocks + b] = half_and_back(d * static_cast<float>(sum));
    }
    if (out.offsets == nullptr) continue;
    const int32_t offset = type == formats::WeightType::kQ4_0 ? -8 : -128;
    for (int64_t w = 0; w < n / 4; ++w) {
      const int8_t* const q = quants + w * 4;
      out.offsets[r * (n / 4) + w] = offset * (q[0] + q[1] + q[2] + q[3]);
    }
  }
}
