// The table of the code for AVX-512 with VNNI.
#include <immintrin.h>

#include <new>

#include "infer/kernels/activations_scalar.h"
#include "infer/kernels/attention.h"
#include "infer/kernels/code.h"

namespace shoal::infer {
namespace {

constexpr int64_t kWidth = 16;
constexpr int kTokensAtOnce = 2;   // 16 accumulators and 8 words of weights
constexpr int kPlainTokens = 6;    // by four rows of weights
constexpr int kQueriesAtOnce = 6;  // of attention, by four elements
typedef float Floats __attribute__((vector_size(64)));
typedef int32_t Ints __attribute__((vector_size(64)));

inline Floats all(float value) { return (Floats)_mm512_set1_ps(value); }
inline Ints all_ints(int32_t value) { return (Ints)_mm512_set1_epi32(value); }
inline Floats fma_of(Floats a, Floats b, Floats c) {
  return (Floats)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
}
inline Floats load(const float* from) { return (Floats)_mm512_loadu_ps(from); }
inline void store(float* to, Floats value) { _mm512_storeu_ps(to, (__m512)value); }
inline Ints load_ints(const std::byte* from) { return (Ints)_mm512_loadu_si512(from); }
inline Floats to_floats(Ints value) { return (Floats)_mm512_cvtepi32_ps((__m512i)value); }
inline Ints lane_numbers() { return Ints{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}; }
inline __m256i load_16_bits(const std::byte* from) {
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from));
}
inline Floats load_halves(const std::byte* from) { return (Floats)_mm512_cvtph_ps(load_16_bits(from)); }
inline Floats load_bfloats(const std::byte* from) {
  return (Floats)_mm512_slli_epi32(_mm512_cvtepu16_epi32(load_16_bits(from)), 16);
}
inline Floats through_halves(Floats value) {
  return (Floats)_mm512_cvtph_ps(
      _mm512_cvtps_ph((__m512)value, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
}
inline float half_and_back(float value) { return _cvtsh_ss(_cvtss_sh(value, _MM_FROUND_TO_NEAREST_INT)); }
inline void store_nearest(int32_t* to, Floats value) {
  _mm512_storeu_si512(to, _mm512_cvtps_epi32((__m512)value));
}

/// sum + four products in each lane: unsigned bytes times signed ones.
inline Ints dot_small(Ints sum, Ints unsigned_bytes, Ints signed_bytes) {
  return (Ints)_mm512_dpbusd_epi32((__m512i)sum, (__m512i)unsigned_bytes, (__m512i)signed_bytes);
}
/// Four signed bytes of weights in each lane, and minus 128 times their sum: what activations are turned by.
struct SignedWord {
  Ints bytes, turned_back;
};
inline SignedWord signed_word(Ints bytes) {
  return {bytes, all_ints(0) - dot_small(all_ints(0), (Ints)_mm512_set1_epi8(-128), bytes)};
}
inline Ints dot_signed(const SignedWord& w, const int8_t* /*quants*/, const int8_t* turned, int64_t word) {
  int32_t four;
  __builtin_memcpy(&four, turned + word * 4, 4);
  return dot_small(w.turned_back, all_ints(four), w.bytes);
}
/// sum + two products in each lane, of whole numbers of 16 bits.
inline Ints add_halves(Ints sum, Ints a, Ints b) {
  return (Ints)_mm512_dpwssd_epi32((__m512i)sum, (__m512i)a, (__m512i)b);
}
inline Ints load_bytes(const std::byte* from) {
  return (Ints)_mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from)));
}
/// Lane i of the result: lanes i and i + 8, and i + 4 and i + 12, and both.
inline __m128 quarter_of(Floats sums) {
  const __m256 eight =
      _mm256_add_ps(_mm512_castps512_ps256((__m512)sums), _mm512_extractf32x8_ps((__m512)sums, 1));
  return _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
}

#include "infer/kernels/vector_code.h"

}  // namespace

const Code kAvx512Code{matmul_vector,     activations_vector, kScalarCode.rms_norm,
                       silu_times_vector, gelu_vector,        attention_vector};

}  // namespace shoal::infer
