// Attention over registers of kWidth tokens of a page: a part of vector_code.h. Queries that read the same kv
// head (its heads, and the rows of a sequence) go over keys and values together, each with sums of its own.

template <CacheType kType>
inline Floats load_cache(const std::byte* at, int64_t index) {
  if constexpr (kType == CacheType::kF16)
    return load_halves(at + index * 2);
  else
    return load(reinterpret_cast<const float*>(at) + index);
}
template <CacheType kType>
inline Floats rounded(Floats value) {
  if constexpr (kType == CacheType::kF16)
    return through_halves(value);
  else
    return value;
}

/// A row's head: what it sees is [begin, end); weights[0] is token `base`'s of the bundle.
struct Query {
  const float* values;  // [padded]
  float* weights;
  float* out;
  int64_t begin, end;
};
/// Several of one kv head. Tokens from `base` (a multiple of 32) to `end` are seen by some of them.
struct Bundle {
  const CacheView* cache;
  const int32_t* pages;
  int64_t head, base, begin, end;
  int64_t all_begin, all_end;  // tokens that all of them see
  bool first;  // of its head: keys and values come from far away
};

/// Scores of kWidth tokens of a page: 32 chains over the elements, added as sum_chains does. kPadded: how many
/// elements, or 0 where that is not known here.
template <CacheType kType, int kQueries, int64_t kPadded>
__attribute__((always_inline)) inline void scores_of(const Bundle& b, const std::byte* keys, int64_t lane,
                                                     const Query* queries, Floats scale, int64_t at) {
  const int64_t padded = kPadded > 0 ? kPadded : b.cache->padded;
  const auto chain = [&](int64_t c, Floats * sums) __attribute__((always_inline)) {
    for (int q = 0; q < kQueries; ++q) sums[q] = all(0.0f);
#pragma GCC unroll 4
    for (int64_t e = c; e < padded; e += kChains) {
      const Floats key = load_cache<kType>(keys, e * kPageTokens + lane);
      for (int q = 0; q < kQueries; ++q) sums[q] = fma_of(all(queries[q].values[e]), key, sums[q]);
    }
  };
  const auto two_chains = [&](int64_t c, Floats * sums) __attribute__((always_inline)) {
    Floats other[kQueries];
    chain(c, sums);
    chain(c + 16, other);
    for (int q = 0; q < kQueries; ++q) sums[q] = sums[q] + other[q];
  };
  Floats total[4][kQueries];
  for (int64_t i = 0; i < 4; ++i) {
    Floats half[2][kQueries];
    for (int64_t k = 0; k < 2; ++k) {
      Floats more[kQueries];
      two_chains(i + 4 * k, half[k]);
      two_chains(i + 4 * k + 8, more);
      for (int q = 0; q < kQueries; ++q) half[k][q] = half[k][q] + more[q];
    }
    for (int q = 0; q < kQueries; ++q) total[i][q] = half[0][q] + half[1][q];
  }
  for (int q = 0; q < kQueries; ++q) {
    const Floats sum = (total[0][q] + total[1][q]) + (total[2][q] + total[3][q]);
    store(queries[q].weights + at, sum * scale);
  }
}

/// Which of kWidth tokens from `first` on are in [begin, end).
inline Ints seen_lanes(int64_t first, int64_t begin, int64_t end) {
  const Ints token = lane_numbers() + static_cast<int32_t>(first);
  return (token >= static_cast<int32_t>(begin)) & (token < static_cast<int32_t>(end));
}

/// Weights of keys out of scores, in place; `count` is a multiple of 32.
template <CacheType kType>
inline void softmax(const Query& query, int64_t base, int64_t count) {
  float* const weights = query.weights;
  Floats most = all(-__builtin_inff());
  for (int64_t i = 0; i < count; i += kWidth) {
    const Floats score = load(weights + i);
    most = (seen_lanes(base + i, query.begin, query.end) != 0) & (most < score) ? score : most;
  }
  float lanes[kWidth], largest = -__builtin_inff();
  store(lanes, most);
  for (const float lane : lanes) largest = largest < lane ? lane : largest;
  double sum = 0;
  for (int64_t i = 0; i < count; i += kWidth) {
    const Floats e = exp_of(load(weights + i) - all(largest));
    store(weights + i, seen_lanes(base + i, query.begin, query.end) != 0 ? e : all(0.0f));
    for (int64_t k = i; k < i + kWidth; k += 8) {  // zeros behind the end change nothing
      __m128 t = _mm_add_ps(_mm_loadu_ps(weights + k + 4), _mm_loadu_ps(weights + k));
      t = _mm_add_ps(t, _mm_movehl_ps(t, t));
      t = _mm_add_ss(t, _mm_movehdup_ps(t));
      sum += static_cast<double>(_mm_cvtss_f32(t));
    }
  }
  const Floats inverse = all(static_cast<float>(1.0 / sum));
  for (int64_t i = 0; i < count; i += kWidth) store(weights + i, rounded<kType>(load(weights + i) * inverse));
}

/// kElements elements of the results from `i` on: 32 chains over the tokens, a register of them after the
/// other.
template <CacheType kType, int kQueries, int kElements>
__attribute__((always_inline)) inline void values_of(const Bundle& b, const Query* queries, int64_t i) {
  Floats chains[kQueries][kElements][kChainRegisters];
  for (int64_t c = 0; c < kChainRegisters; ++c) {
    Floats acc[kQueries][kElements];
    for (int q = 0; q < kQueries; ++q)
      for (int e = 0; e < kElements; ++e) acc[q][e] = all(0.0f);
    int64_t first = b.base + c * kWidth;
    for (; first < b.end; first += kChains) {
      for (; first >= b.all_begin && first + kWidth <= b.all_end; first += kChains) {
        const std::byte* const values = b.cache->values(b.pages[first / kPageTokens], b.head);
        const int64_t lane = first % kPageTokens;
        Floats weights[kQueries];
        for (int q = 0; q < kQueries; ++q) weights[q] = load(queries[q].weights + (first - b.base));
        for (int e = 0; e < kElements; ++e) {
          const Floats value = load_cache<kType>(values, (i + e) * kPageTokens + lane);
          for (int q = 0; q < kQueries; ++q) acc[q][e] = fma_of(weights[q], value, acc[q][e]);
        }
      }
      if (first >= b.end || first + kWidth <= b.begin) continue;  // there may be no page any more
      const std::byte* const values = b.cache->values(b.pages[first / kPageTokens], b.head);
      const int64_t lane = first % kPageTokens;
      Floats weights[kQueries];
      Ints seen[kQueries];
      for (int q = 0; q < kQueries; ++q) {
        weights[q] = load(queries[q].weights + (first - b.base));
        seen[q] = seen_lanes(first, queries[q].begin, queries[q].end);
      }
      for (int e = 0; e < kElements; ++e) {
        const Floats value = load_cache<kType>(values, (i + e) * kPageTokens + lane);
        for (int q = 0; q < kQueries; ++q)  // what is not seen may be anything, even no number
          acc[q][e] = fma_of(weights[q], seen[q] != 0 ? value : all(0.0f), acc[q][e]);
      }
    }
    for (int q = 0; q < kQueries; ++q)
      for (int e = 0; e < kElements; ++e) chains[q][e][c] = acc[q][e];
  }
  for (int q = 0; q < kQueries; ++q) {
    __m128 quarters[kElements];
    for (int e = 0; e < kElements; ++e) quarters[e] = quarter_of_chains(chains[q][e]);
    if constexpr (kElements == 4)
      _mm_storeu_ps(queries[q].out + i, sums_of_quarters(quarters));
    else
      for (int e = 0; e < kElements; ++e) queries[q].out[i + e] = sum_of_quarter(quarters[e]);
  }
}

template <CacheType kType, int kQueries>
void attend(const Bundle& b, const Query* queries) {
  const Floats scale = all(1.0f / __builtin_sqrtf(static_cast<float>(b.cache->head_width)));
  const int64_t count = round_up(b.end - b.base, kChains);
  const int64_t bytes = b.cache->padded * kPageTokens * b.cache->element_bytes();
  for (int64_t page = b.begin / kPageTokens; page * kPageTokens < b.end; ++page) {
    if (b.first) {  // pages lie anywhere
      if ((page + 1) * kPageTokens < b.end) expect(b.cache->keys(b.pages[page + 1], b.head), bytes);
      expect(b.cache->values(b.pages[page], b.head), bytes);
    }
    for (int64_t lane = 0; lane < kPageTokens; lane += kWidth) {
      const int64_t first = page * kPageTokens + lane;
      if (first >= b.end || first + kWidth <= b.begin) continue;
      const std::byte* const keys = b.cache->keys(b.pages[page], b.head);
      const int64_t at = first - b.base;
      if (b.cache->padded == 64)
        scores_of<kType, kQueries, 64>(b, keys, lane, queries, scale, at);
      else if (b.cache->padded == 128)
        scores_of<kType, kQueries, 128>(b, keys, lane, queries, scale, at);
      else
        scores_of<kType, kQueries, 0>(b, keys, lane, queries, scale, at);
    }
  }
  for (int q = 0; q < kQueries; ++q) softmax<kType>(queries[q], b.base, count);
  int64_t i = 0;
  for (; i + 4 <= b.cache->head_width; i += 4) values_of<kType, kQueries, 4>(b, queries, i);
  for (; i < b.cache->head_width; ++i) values_of<kType, kQueries, 1>(b, queries, i);
}

template <CacheType kType, int kMost = kQueriesAtOnce>
void attend_some(int queries, const Bundle& b, const Query* all_queries) {
  if constexpr (kMost > 1)
    if (queries < kMost) return attend_some<kType, kMost - 1>(queries, b, all_queries);
  attend<kType, kMost>(b, all_queries);
}

template <CacheType kType>
void attention_of(const CacheView& cache, const AttentionRows& s, const float* queries, int64_t query_stride,
                  int64_t heads, int64_t window, float* out, int64_t out_stride, float* room,
                  int64_t weights_each) {
  const int64_t n = cache.head_width, group = heads / cache.kv_heads;
  for (int64_t head = 0; head < cache.kv_heads; ++head) {
    for (int64_t next = 0; next < s.rows * group; next += kQueriesAtOnce) {
      const int64_t left = s.rows * group - next;
      const int count = static_cast<int>(left < kQueriesAtOnce ? left : kQueriesAtOnce);
      Query bundle[kQueriesAtOnce];
      Bundle b{.cache = &cache, .pages = s.pages, .head = head, .base = 0, .begin = s.length, .end = 0,
               .all_begin = 0, .all_end = s.length, .first = next == 0};
      for (int q = 0; q < count; ++q) {
        const int64_t row = (next + q) / group, h = head * group + (next + q) % group;
        float* const values = room + q * (cache.padded + weights_each);
        const float* const from = queries + (s.first_row + row) * query_stride + h * n;
        for_each_register(n, [&](int64_t i, int64_t some) {
          store(values + i, rounded<kType>(load_some(from + i, some)));
        });
        for (int64_t i = n; i < cache.padded; ++i) values[i] = 0;
        const int64_t end = s.length - s.rows + row + 1,
                      begin = window > 0 && end > window ? end - window : 0;
        bundle[q] = {values, values + cache.padded, out + (s.first_row + row) * out_stride + h * n, begin,
                     end};
        b.begin = begin < b.begin ? begin : b.begin;
        b.end = end > b.end ? end : b.end;
        b.all_begin = begin > b.all_begin ? begin : b.all_begin;
        b.all_end = end < b.all_end ? end : b.all_end;
      }
      b.base = b.begin / kChains * kChains;
      attend_some<kType>(count, b, bundle);
    }
  }
}

void attention_vector(const CacheView& cache, const AttentionRows* sequences, int64_t count,
                      const float* queries, int64_t query_stride, int64_t heads, int64_t window, float* out,
                      int64_t out_stride) {
  int64_t longest = 0;
  for (int64_t s = 0; s < count; ++s) longest = sequences[s].length > longest ? sequences[s].length : longest;
  // Nothing of a class or a template of others: what this file makes of it, others would be linked to.
  const int64_t weights = round_up(longest + kChains, kChains);
  const auto bytes = static_cast<size_t>(kQueriesAtOnce * (cache.padded + weights)) * 4;
  auto* const room = static_cast<float*>(::operator new (bytes, std::align_val_t{64}));
  for (int64_t s = 0; s < count; ++s) {
    if (cache.type == CacheType::kF16)
      attention_of<CacheType::kF16>(cache, sequences[s], queries, query_stride, heads, window, out,
                                    out_stride, room, weights);
    else
      attention_of<CacheType::kF32>(cache, sequences[s], queries, query_stride, heads, window, out,
                                    out_stride, room, weights);
  }
  ::operator delete (room, std::align_val_t{64});
}
