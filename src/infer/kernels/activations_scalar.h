// Activations as the products want them, in plain C++; other instruction sets use it where they have nothing
// better. ggml's quantize_row_q8_0, q8_1 and q8_K.
#pragma once

#include "infer/kernels/packed.h"

namespace shoal::infer {

void activations_scalar(formats::WeightType, const float* x, int64_t stride, const ActivationRows& out);

/// What else the products want of a row of quants in blocks of 32.
void complete_32(const int8_t* quants, int64_t n, int64_t row, const ActivationRows& out);

}  // namespace shoal::infer
