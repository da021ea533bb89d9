// The table of the code for AVX2 with FMA and F16C.
#include <immintrin.h>

#include <new>

#include "infer/kernels/activations_scalar.h"
#include "infer/kernels/attention.h"
#include "infer/kernels/code.h"

namespace shoal::infer {
namespace {

constexpr int64_t kWidth = 8;
constexpr int kTokensAtOnce = 1;   // 8 accumulators, and there are 16 registers
constexpr int kPlainTokens = 3;    // by four rows of weights
constexpr int kQueriesAtOnce = 2;  // of attention, by four elements
typedef float Floats __attribute__((vector_size(32)));
typedef int32_t Ints __attribute__((vector_size(32)));

inline Floats all(float value) { return (Floats)_mm256_set1_ps(value); }
inline Ints all_ints(int32_t value) { return (Ints)_mm256_set1_epi32(value); }
inline Floats fma_of(Floats a, Floats b, Floats c) {
  return (Floats)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
}
inline Floats load(const float* from) { return (Floats)_mm256_loadu_ps(from); }
inline void store(float* to, Floats value) { _mm256_storeu_ps(to, (__m256)value); }
inline Ints load_ints(const std::byte* from) {
  return (Ints)_mm256_loadu_si256(reinterpret_cast<const __m256i*>(from));
}
inline Floats to_floats(Ints value) { return (Floats)_mm256_cvtepi32_ps((__m256i)value); }
inline Ints lane_numbers() { return Ints{0, 1, 2, 3, 4, 5, 6, 7}; }
inline __m128i load_16_bits(const std::byte* from) {
  return _mm_loadu_si128(reinterpret_cast<const __m128i*>(from));
}
inline Floats load_halves(const std::byte* from) { return (Floats)_mm256_cvtph_ps(load_16_bits(from)); }
inline Floats load_bfloats(const std::byte* from) {
  return (Floats)_mm256_slli_epi32(_mm256_cvtepu16_epi32(load_16_bits(from)), 16);
}
inline Floats through_halves(Floats value) {
  return (Floats)_mm256_cvtph_ps(_mm256_cvtps_ph((__m256)value, _MM_FROUND_TO_NEAREST_INT));
}
inline float half_and_back(float value) { return _cvtsh_ss(_cvtss_sh(value, _MM_FROUND_TO_NEAREST_INT)); }
inline void store_nearest(int32_t* to, Floats value) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), _mm256_cvtps_epi32((__m256)value));
}

/// sum + four products in each lane, of bytes in [0, 128] and signed ones: sums of two fit 16 bits.
inline Ints dot_small(Ints sum, Ints unsigned_bytes, Ints signed_bytes) {
  const __m256i pairs = _mm256_maddubs_epi16((__m256i)unsigned_bytes, (__m256i)signed_bytes);
  return sum + (Ints)_mm256_madd_epi16(pairs, _mm256_set1_epi16(1));
}
/// Four signed bytes of weights in each lane, and their sizes: signs go to the other factor.
struct SignedWord {
  Ints bytes, sizes;
};
inline SignedWord signed_word(Ints bytes) { return {bytes, (Ints)_mm256_abs_epi8((__m256i)bytes)}; }
inline Ints dot_signed(const SignedWord& w, const int8_t* quants, const int8_t* /*turned*/, int64_t word) {
  int32_t four;
  __builtin_memcpy(&four, quants + word * 4, 4);
  const __m256i signs_moved = _mm256_sign_epi8(_mm256_set1_epi32(four), (__m256i)w.bytes);
  return dot_small(all_ints(0), w.sizes, (Ints)signs_moved);
}
/// sum + two products in each lane, of whole numbers of 16 bits.
inline Ints add_halves(Ints sum, Ints a, Ints b) {
  return sum + (Ints)_mm256_madd_epi16((__m256i)a, (__m256i)b);
}
inline Ints load_bytes(const std::byte* from) {
  return (Ints)_mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(from)));
}
/// Lane i of the result: lanes i and i + 4.
inline __m128 quarter_of(Floats sums) {
  return _mm_add_ps(_mm256_castps256_ps128((__m256)sums), _mm256_extractf128_ps((__m256)sums, 1));
}

#include "infer/kernels/vector_code.h"

}  // namespace

const Code kAvx2Code{matmul_vector,     activations_vector, kScalarCode.rms_norm,
                     silu_times_vector, gelu_vector,        attention_vector};

}  // namespace shoal::infer
