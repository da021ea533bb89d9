// Norms, activation functions, turns: near fp64, and the same bits for every instruction set.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "infer/kernel_samples.h"

namespace shoal::infer {
namespace {

TEST(KernelsRows, NormsAreNearFp64) {
  std::mt19937 random(1);
  const int64_t rows = 3, width = 301;
  const auto x = random_floats(rows * width, random), weight = random_floats(width, random),
             bias = random_floats(width, random);
  std::vector<float> rms(x.size()), layer(x.size());
  rms_norm(x.data(), weight.data(), 1e-5, rows, width, rms.data());
  layer_norm(x.data(), weight.data(), bias.data(), 1e-5, rows, width, layer.data());
  for (int64_t r = 0; r < rows; ++r) {
    double sum = 0, squares = 0;
    for (int64_t i = 0; i < width; ++i) sum += x[static_cast<size_t>(r * width + i)];
    const double mean = sum / width;
    double variance = 0;
    for (int64_t i = 0; i < width; ++i) {
      const double v = x[static_cast<size_t>(r * width + i)];
      squares += v * v, variance += (v - mean) * (v - mean);
    }
    for (int64_t i = 0; i < width; ++i) {
      const auto at = static_cast<size_t>(r * width + i), w = static_cast<size_t>(i);
      EXPECT_NEAR(rms[at], x[at] / std::sqrt(squares / width + 1e-5) * weight[w], 2e-6);
      EXPECT_NEAR(layer[at], (x[at] - mean) / std::sqrt(variance / width + 1e-5) * weight[w] + bias[w], 3e-6);
    }
  }
}

TEST(KernelsRows, ActivationFunctionsAreNearFp64) {
  std::vector<float> x, up;
  for (float v = -120; v < 120; v += 0.37f) x.push_back(v), up.push_back(1.5f);
  std::vector<float> silu(x.size()), soft(x.size());
  silu_times(x.data(), up.data(), static_cast<int64_t>(x.size()), silu.data());
  gelu(x.data(), static_cast<int64_t>(x.size()), soft.data());
  for (size_t i = 0; i < x.size(); ++i) {
    const double v = x[i];
    EXPECT_NEAR(silu[i], 1.5 * v / (1 + std::exp(-v)), 1e-6 * std::max(1.0, std::fabs(v)));
    EXPECT_NEAR(soft[i], 0.5 * v * (1 + std::tanh(std::sqrt(2 / M_PI) * (v + 0.044715 * v * v * v))),
                1e-6 * std::max(1.0, std::fabs(v)));
  }
}

TEST(KernelsRows, EveryInstructionSetGivesTheSameBits) {
  std::mt19937 random(2);
  for (const auto& [name, code] : other_codes()) {
    for (int64_t width = 1; width < 70; ++width) {
      const int64_t rows = 1 + width % 7;
      auto x = random_floats(rows * width, random, width % 2 == 0 ? 1.0f : 60.0f);
      const auto y = random_floats(rows * width, random);
      std::vector<float> one(x.size()), two(x.size());
      kScalarCode.rms_norm(x.data(), y.data(), 1e-6, rows, width, one.data());
      code->rms_norm(x.data(), y.data(), 1e-6, rows, width, two.data());
      EXPECT_TRUE(same_bits(one, two)) << name << " rms_norm " << width;
      kScalarCode.silu_times(x.data(), y.data(), rows * width, one.data());
      code->silu_times(x.data(), y.data(), rows * width, two.data());
      EXPECT_TRUE(same_bits(one, two)) << name << " silu " << width;
      kScalarCode.gelu(x.data(), rows * width, one.data());
      code->gelu(x.data(), rows * width, two.data());
      EXPECT_TRUE(same_bits(one, two)) << name << " gelu " << width;
      kScalarCode.silu_times(x.data(), y.data(), rows * width, one.data());
      code->silu_times(x.data(), y.data(), rows * width, x.data());
      EXPECT_TRUE(same_bits(one, x)) << name << " silu in place " << width;
    }
  }
}

TEST(KernelsRows, ExponentialOverItsWholeRange) {
  std::vector<float> x, up;
  for (float v = -200; v < 200; v += 0.0137f) x.push_back(v), up.push_back(1);
  for (const float v : {0.0f, -0.0f, 1e-30f, -1e-30f, 3e38f, -3e38f, 87.33f, 88.72f, 103.9f, 104.1f})
    x.push_back(v), up.push_back(1);
  const auto n = static_cast<int64_t>(x.size());
  std::vector<float> one(x.size()), two(x.size());
  kScalarCode.silu_times(x.data(), up.data(), n, one.data());
  for (const auto& [name, code] : other_codes()) {
    code->silu_times(x.data(), up.data(), n, two.data());
    EXPECT_TRUE(same_bits(one, two)) << name;
  }
}

TEST(KernelsRows, HalvesGoThereAndBack) {
  for (uint32_t bits = 0; bits < 65536; ++bits) {
    const float value = from_half(static_cast<uint16_t>(bits));
    if (std::isnan(value)) continue;
    EXPECT_EQ(to_half(value), bits);
    // Half way to the next one goes to the even one.
    if ((bits & 0x7fffu) >= 0x7bffu) continue;
    const float next = from_half(static_cast<uint16_t>(bits + 1));
    EXPECT_EQ(to_half(value / 2 + next / 2), bits % 2 == 0 ? bits : bits + 1) << bits;
  }
  EXPECT_EQ(to_half(65519.0f), 0x7bff);
  EXPECT_EQ(to_half(65520.0f), 0x7c00);
  EXPECT_EQ(to_half(1e-9f), 0);
}

TEST(KernelsRows, TurnsAreThoseOfTheirPositions) {
  formats::ModelConfig config;
  config.head_width = 8;
  config.rope_width = 6;  // the last two elements stay
  config.rope_base = 100;
  for (const bool halves : {false, true}) {
    config.rope_halves = halves;
    const RopeTable table(config, 20, nullptr);
    std::mt19937 random(3);
    const auto x = random_floats(2 * 40, random);
    auto y = x;
    const int32_t positions[] = {0, 13};
    table.rotate(y.data(), 2, 2, 40, positions);
    for (int64_t r = 0; r < 2; ++r) {
      for (int64_t h = 0; h < 2; ++h) {
        for (int64_t i = 0; i < 3; ++i) {
          const int64_t first = r * 40 + h * 8 + (halves ? i : 2 * i), second = first + (halves ? 3 : 1);
          const double angle = positions[r] * std::pow(100.0, -2.0 * static_cast<double>(i) / 6);
          const double a = x[static_cast<size_t>(first)], b = x[static_cast<size_t>(second)];
          EXPECT_NEAR(y[static_cast<size_t>(first)], a * std::cos(angle) - b * std::sin(angle), 1e-5);
          EXPECT_NEAR(y[static_cast<size_t>(second)], a * std::sin(angle) + b * std::cos(angle), 1e-5);
        }
        for (int64_t i = 6; i < 8; ++i)
          EXPECT_EQ(y[static_cast<size_t>(r * 40 + h * 8 + i)], x[static_cast<size_t>(r * 40 + h * 8 + i)]);
      }
      for (int64_t i = 16; i < 40; ++i)
        EXPECT_EQ(y[static_cast<size_t>(r * 40 + i)], x[static_cast<size_t>(r * 40 + i)]);
    }
  }
}

/// Cosine of pair i at position p, read off the turn of (1, 0).
double cosine_of(const formats::ModelConfig& config, int64_t pair, int32_t position) {
  std::vector<float> x(static_cast<size_t>(config.head_width));
  const auto at = static_cast<size_t>(2 * pair);
  x[at] = 1;
  RopeTable(config, position + 1, nullptr).rotate(x.data(), 1, 1, config.head_width, &position);
  return x[at];
}

TEST(KernelsRows, ScaledTurns) {
  formats::ModelConfig config;
  config.head_width = config.rope_width = 64;
  config.rope_base = 10000;
  config.rope_factor = 8;
  config.rope_original_context = 2048;
  const auto frequency = [](int64_t pair) {
    return std::pow(10000.0, -2.0 * static_cast<double>(pair) / 64);
  };

  config.rope_scaling = formats::RopeScaling::kLinear;
  for (const int64_t pair : {0, 9, 31})
    EXPECT_NEAR(cosine_of(config, pair, 100), std::cos(100 * frequency(pair) / 8), 1e-4);

  // Llama 3: what turns more than 4 times within the original context stays, less than once is divided.
  config.rope_scaling = formats::RopeScaling::kLlama3;
  config.rope_low = 1, config.rope_high = 4;
  for (int64_t pair = 0; pair < 32; ++pair) {
    const double turns = 2048 * frequency(pair) / (2 * M_PI), smooth = std::clamp((turns - 1) / 3, 0.0, 1.0);
    EXPECT_NEAR(cosine_of(config, pair, 100), std::cos(100 * frequency(pair) * ((1 - smooth) / 8 + smooth)),
                1e-4)
        << pair;
  }

  // YaRN: between 32 turns and one a ramp over the pairs; the factor scales what is turned.
  config.rope_scaling = formats::RopeScaling::kYarn;
  config.rope_low = 1, config.rope_high = 32, config.rope_attention_factor = 1.2;
  const auto pair_of = [](double turns) {
    return 64 * std::log(2048 / (turns * 2 * M_PI)) / (2 * std::log(10000.0));
  };
  const double begin = std::floor(pair_of(32)), end = std::ceil(pair_of(1));
  for (int64_t pair = 0; pair < 32; ++pair) {
    const double divided = std::clamp((static_cast<double>(pair) - begin) / (end - begin), 0.0, 1.0);
    EXPECT_NEAR(cosine_of(config, pair, 100),
                1.2 * std::cos(100 * frequency(pair) * (divided / 8 + 1 - divided)), 1e-4)
        << pair;
  }
}

}  // namespace
}  // namespace shoal::infer
