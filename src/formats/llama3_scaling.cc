#include "formats/llama3_scaling.h"

#include <cmath>

#include "base/elementary.h"

namespace shoal::formats {

std::vector<float> llama3_factors(const ModelConfig& config) {
  std::vector<float> factors;
  const auto original = static_cast<double>(config.rope_original_context);
  for (int64_t i = 0; i < config.rope_width / 2; ++i) {
    const double turn =
        std::pow(config.rope_base, 2.0 * static_cast<double>(i) / static_cast<double>(config.rope_width));
    const double turns = original / (2 * kPi * turn);  // in the original context
    double factor = 1;
    if (turns < config.rope_low) {
      factor = config.rope_factor;
    } else if (turns <= config.rope_high) {
      const double smooth = (turns - config.rope_low) / (config.rope_high - config.rope_low);
      factor = 1 / ((1 - smooth) / config.rope_factor + smooth);
    }
    factors.push_back(static_cast<float>(factor));
  }
  return factors;
}

bool find_llama3_scaling(ModelConfig& config, const std::vector<float>& factors) {
  if (factors.empty() || static_cast<int64_t>(factors.size()) != config.rope_width / 2) return false;
  ModelConfig trial = config;
  trial.rope_scaling = RopeScaling::kLlama3;
  trial.rope_low = 1;
  trial.rope_high = 4;
  trial.rope_factor =
      std::round(factors.back());  // 8 of Llama 3.1, 32 of 3.2: the slowest pairs take it whole
  for (int64_t original = 16; original <= (1 << 20); original *= 2) {
    trial.rope_original_context = original;
    const std::vector<float> got = llama3_factors(trial);
    bool equal = true;
    for (size_t i = 0; i < got.size(); ++i)
      equal &= std::abs(got[i] - factors[i]) <= 1e-5f * std::abs(factors[i]);
    if (!equal) continue;
    config = trial;
    return true;
  }
  return false;
}

}  // namespace shoal::formats
