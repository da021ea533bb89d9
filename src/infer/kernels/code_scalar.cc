// The table of the plain code.
#include <cmath>

#include "infer/kernels/activations_scalar.h"
#include "infer/kernels/attention.h"
#include "infer/kernels/code.h"
#include "infer/kernels/exp.h"
#include "infer/kernels/matmul_scalar.h"

namespace shoal::infer {
namespace {

void rms_norm_scalar(const float* x, const float* weight, double epsilon, int64_t rows, int64_t width,
                     float* y) {
  for (int64_t r = 0; r < rows; ++r, x += width, y += width) {
    double sum = 0;
    for (int64_t i = 0; i < width; ++i) sum += static_cast<double>(x[i] * x[i]);
    const auto mean = static_cast<float>(sum / static_cast<double>(width));
    const float scale = 1.0f / std::sqrt(mean + static_cast<float>(epsilon));
    for (int64_t i = 0; i < width; ++i) y[i] = x[i] * scale * weight[i];
  }
}
void silu_times_scalar(const float* gate, const float* up, int64_t count, float* out) {
  for (int64_t i = 0; i < count; ++i) out[i] = silu_scalar(gate[i]) * up[i];
}
void gelu_rows_scalar(const float* x, int64_t count, float* out) {
  for (int64_t i = 0; i < count; ++i) out[i] = gelu_scalar(x[i]);
}

}  // namespace

const Code kScalarCode{matmul_scalar,     activations_scalar, rms_norm_scalar,
                       silu_times_scalar, gelu_rows_scalar,   attention_scalar};

}  // namespace shoal::infer
