// Sums, norms and activation functions of rows; the dispatch of what stands in code.h.
#include <cmath>

#include "infer/kernels/code.h"

namespace shoal::infer {
namespace {

/// ggml_vec_cvar_f32: takes the mean off, and gives the mean square; groups of eight are added in fp32, the
/// groups in fp64.
double centre(float* y, const float* x, int64_t n, float mean) {
  double sum = 0;
  int64_t i = 0;
  for (; i + 8 <= n; i += 8) {
    float t[8];
    for (int k = 0; k < 8; ++k) {
      y[i + k] = x[i + k] - mean;
      t[k] = y[i + k] * y[i + k];
    }
    for (int k = 0; k < 4; ++k) t[k] = t[k + 4] + t[k];
    sum += static_cast<double>((t[0] + t[2]) + (t[1] + t[3]));
  }
  for (; i < n; ++i) {
    y[i] = x[i] - mean;
    sum += static_cast<double>(y[i] * y[i]);
  }
  return sum / static_cast<double>(n);
}

}  // namespace

void rms_norm(const float* x, const float* weight, double epsilon, int64_t rows, int64_t width, float* y) {
  code().rms_norm(x, weight, epsilon, rows, width, y);
}
void silu_times(const float* gate, const float* up, int64_t count, float* out) {
  code().silu_times(gate, up, count, out);
}
void gelu(const float* x, int64_t count, float* out) { code().gelu(x, count, out); }

void layer_norm(const float* x, const float* weight, const float* bias, double epsilon, int64_t rows,
                int64_t width, float* y) {
  for (int64_t r = 0; r < rows; ++r, x += width, y += width) {
    double sum = 0;
    for (int64_t i = 0; i < width; ++i) sum += static_cast<double>(x[i]);
    const float mean = static_cast<float>(sum) / static_cast<float>(width);
    const auto variance = static_cast<float>(centre(y, x, width, mean));
    const float scale = 1.0f / std::sqrt(variance + static_cast<float>(epsilon));
    for (int64_t i = 0; i < width; ++i) {
      const float normed = y[i] * scale * (weight != nullptr ? weight[i] : 1.0f);
      y[i] = bias != nullptr ? normed + bias[i] : normed;
    }
  }
}

void add(const float* x, const float* y, int64_t count, float* out) {
  for (int64_t i = 0; i < count; ++i) out[i] = x[i] + y[i];
}

void add_bias(float* x, const float* bias, int64_t rows, int64_t width, int64_t stride) {
  for (int64_t r = 0; r < rows; ++r, x += stride) {
    for (int64_t i = 0; i < width; ++i) x[i] += bias[i];
  }
}

}  // namespace shoal::infer
