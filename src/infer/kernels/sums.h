// The orders in which lanes are added up at the end: those of ggml's code for AVX.
#pragma once

#include "infer/kernels/packed.h"

namespace shoal::infer {

/// Eight lanes (hsum_float_8).
inline float sum_lanes(const float* a) {
  const float t0 = a[4] + a[0], t1 = a[5] + a[1], t2 = a[6] + a[2], t3 = a[7] + a[3];
  return (t0 + t2) + (t1 + t3);
}

/// 32 chains (GGML_F32x8_REDUCE of four registers).
inline float sum_chains(const float* a) {
  float t[4];
  for (int i = 0; i < 4; ++i) {
    const float low = (a[i] + a[i + 16]) + (a[i + 8] + a[i + 24]);
    const float high = (a[i + 4] + a[i + 20]) + (a[i + 12] + a[i + 28]);
    t[i] = low + high;
  }
  return (t[0] + t[1]) + (t[2] + t[3]);
}

}  // namespace shoal::infer
