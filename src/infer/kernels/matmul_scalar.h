#pragma once

#include "infer/kernels/packed.h"

namespace shoal::infer {

void matmul_scalar(const PackedMatrix::Impl&, const ActivationRows&, float* y, int64_t stride);

}  // namespace shoal::infer
