// The kernels over registers of kWidth floats, for every instruction set that has such: a file of one defines
// kWidth, Floats, Ints and a few functions on them, includes this inside of its own nameless namespace, and
// makes a table of it. Lanes are rows of a tile in products, tokens of a page in attention, so that the order
// in which an element is summed is the scalar code's (matmul_scalar.cc, attention_scalar.cc), to the bit.
//
// No #pragma once: it is a part of the file that includes it.

constexpr int64_t kRegisters = kTileRows / kWidth;  // for the rows of a tile, or the tokens of a page
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

#include "infer/kernels/vector_plain.h"
#include "infer/kernels/vector_products.h"

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

#include "infer/kernels/vector_attention.h"

// --- Activations ---

/// Blocks of 32; the rest is the plain code's.
void activations_vector(formats::WeightType type, const float* x, int64_t stride, const ActivationRows& out) {
  if (out.values != nullptr || out.block_sums != nullptr)
    return kScalarCode.activations(type, x, stride, out);
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
    complete_32(quants, n, r, out);
  }
}
