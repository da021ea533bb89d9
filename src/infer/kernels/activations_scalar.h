// Activations as the products want them, in plain C++; other instruction sets use it where they have nothing
// better. ggml's quantize_row_q8_0, q8_1 and q8_K.
#pragma once

#include "infer/kernels/packed.h"

namespace shoal::infer {

void activations_scalar(formats::WeightType, const float* x, int64_t stride, const ActivationRows& out);

}  // namespace shoal::infer
