// Turns of positions: ggml_rope_ext's table (angles by repeated multiplication in fp32, libm's cosf and sinf)
// and rotate_pairs, whose first product of each sum is fused.
#include <algorithm>
#include <cmath>

#include "infer/kernels/kernels.h"

namespace shoal::infer {
namespace {

using formats::ModelConfig;
using formats::RopeScaling;

constexpr float kPi = 3.14159265f;

/// Llama 3's scaling as factors that divide frequencies, as llama.cpp's converter writes them into
/// rope_freqs.
std::vector<float> llama3_factors(const ModelConfig& c) {
  std::vector<float> factors;
  const auto context = static_cast<double>(c.rope_original_context);
  const double longest = context / c.rope_low, shortest = context / c.rope_high;
  for (int64_t i = 0; i < c.rope_width / 2; ++i) {
    const double frequency =
        std::pow(c.rope_base, -2.0 * static_cast<double>(i) / static_cast<double>(c.rope_width));
    const double wave = 2 * 3.14159265358979323846 / frequency;
    double factor = 1;
    if (wave > longest) {
      factor = c.rope_factor;
    } else if (wave >= shortest) {
      const double smooth = (context / wave - c.rope_low) / (c.rope_high - c.rope_low);
      factor = 1 / ((1 - smooth) / c.rope_factor + smooth);
    }
    factors.push_back(static_cast<float>(factor));
  }
  return factors;
}

/// Which pair turns so many times within the original context: where YaRN's ramp begins or ends.
float yarn_pair(const ModelConfig& c, float turns) {
  const auto width = static_cast<float>(c.rope_width), base = static_cast<float>(c.rope_base);
  return width * std::log(static_cast<float>(c.rope_original_context) / (turns * 2 * kPi)) /
         (2 * std::log(base));
}

}  // namespace

RopeTable::RopeTable(const ModelConfig& config, int64_t positions, const float* frequency_factors)
    : halves_(config.rope_halves), width_(config.rope_width), head_width_(config.head_width) {
  const int64_t pairs = width_ / 2;
  std::vector<float> factors;
  if (frequency_factors != nullptr) {
    factors.assign(frequency_factors, frequency_factors + pairs);
  } else if (config.rope_scaling == RopeScaling::kLlama3) {
    factors = llama3_factors(config);
  }
  const bool yarn = config.rope_scaling == RopeScaling::kYarn;
  const bool scaled = yarn || config.rope_scaling == RopeScaling::kLinear;
  const float frequency_scale = scaled ? 1.0f / static_cast<float>(config.rope_factor) : 1.0f;
  const float step = std::pow(static_cast<float>(config.rope_base), -2.0f / static_cast<float>(width_));
  const auto size = static_cast<float>(config.rope_attention_factor);
  float ramp_begin = 0, ramp_end = 0;
  if (yarn) {
    ramp_begin = std::max(0.0f, std::floor(yarn_pair(config, static_cast<float>(config.rope_high))));
    ramp_end = std::min(static_cast<float>(width_ - 1),
                        std::ceil(yarn_pair(config, static_cast<float>(config.rope_low))));
  }
  cosines_.resize(static_cast<size_t>(positions * pairs));
  sines_.resize(cosines_.size());
  for (int64_t p = 0; p < positions; ++p) {
    float turn = static_cast<float>(p);
    for (int64_t i = 0; i < pairs; ++i, turn *= step) {
      const float own = factors.empty() ? turn : turn / factors[static_cast<size_t>(i)];
      float angle = frequency_scale * own;
      if (yarn) {
        const float along = (static_cast<float>(i) - ramp_begin) / std::max(0.001f, ramp_end - ramp_begin);
        const float mix = 1 - std::min(1.0f, std::max(0.0f, along));
        angle = std::fma(angle, 1 - mix, own * mix);
      }
      cosines_[static_cast<size_t>(p * pairs + i)] = std::cos(angle) * size;
      sines_[static_cast<size_t>(p * pairs + i)] = std::sin(angle) * size;
    }
  }
}

void RopeTable::rotate(float* x, int64_t rows, int64_t heads, int64_t stride,
                       const int32_t* positions) const {
  const int64_t pairs = width_ / 2, apart = halves_ ? pairs : 1, step = halves_ ? 1 : 2;
  for (int64_t r = 0; r < rows; ++r) {
    const float* const cosines = cosines_.data() + positions[r] * pairs;
    const float* const sines = sines_.data() + positions[r] * pairs;
    for (int64_t h = 0; h < heads; ++h) {
      float* const head = x + r * stride + h * head_width_;
      for (int64_t i = 0; i < pairs; ++i) {
        float& a = head[i * step];
        float& b = head[i * step + apart];
        const float first = std::fma(a, cosines[i], -(b * sines[i]));
        b = std::fma(a, sines[i], b * cosines[i]);
        a = first;
      }
    }
  }
}

}  // namespace shoal::infer
