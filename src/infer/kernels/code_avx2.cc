// The table of the code for AVX2 with FMA and F16C.
#include <immintrin.h>

#include <new>

#include "infer/kernels/attention.h"
#include "infer/kernels/code.h"

namespace shoal::infer {
namespace {

constexpr int64_t kWidth = 8;
constexpr int kTokensAtOnce = 1;  // 8 accumulators, and there are 16 registers
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
/// Of any bytes, which are 128 too large: they are turned back, and their sign goes to the other factor.
inline Ints dot_turned(Ints /*offset*/, Ints turned, Ints signed_bytes) {
  const __m256i bytes = _mm256_xor_si256((__m256i)turned, _mm256_set1_epi8(-128));
  return dot_small(all_ints(0), (Ints)_mm256_abs_epi8(bytes), (Ints)_mm256_sign_epi8((__m256i)signed_bytes, bytes));
}

/// sum + two products in each lane, of whole numbers of 16 bits.
inline Ints add_halves(Ints sum, Ints a, Ints b) { return sum + (Ints)_mm256_madd_epi16((__m256i)a, (__m256i)b); }
inline Ints load_bytes(const std::byte* from) {
  return (Ints)_mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(from)));
}

#include "infer/kernels/vector_code.h"

}  // namespace

const Code kAvx2Code{matmul_vector,     activations_vector, kScalarCode.rms_norm,
                     silu_times_vector, gelu_vector,        attention_vector};

}  // namespace shoal::infer
