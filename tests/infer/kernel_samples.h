// Random weights and activations for the tests of the kernels, and the instruction sets that this CPU has.
#pragma once

#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "infer/kernels/code.h"
#include "infer/kernels/half.h"

namespace shoal::infer {

using formats::Weight;
using formats::WeightType;

struct NamedCode {
  std::string name;
  const Code* code;
};
/// Those that are not the scalar one, which the others are held against.
inline std::vector<NamedCode> other_codes() {
  std::vector<NamedCode> all;
  if (const Code* c = code_of(InstructionSet::kAvx2)) all.push_back({"avx2", c});
  if (const Code* c = code_of(InstructionSet::kAvx512)) all.push_back({"avx512", c});
  return all;
}

inline const std::vector<WeightType> kAllTypes = {WeightType::kF32,  WeightType::kF16,  WeightType::kBF16,
                                                  WeightType::kQ8_0, WeightType::kQ4_0, WeightType::kQ4_1,
                                                  WeightType::kQ4_K, WeightType::kQ6_K};

struct RandomWeight {
  Weight weight;
  std::vector<std::byte> bytes;
};

/// Any bytes are valid quants; scales are put where each type has them, small and of both signs.
inline RandomWeight random_weight(WeightType type, int64_t rows, int64_t columns, std::mt19937& random) {
  const TileBlock block = tile_block(type);
  std::normal_distribution<float> normal(0, 0.05f);
  RandomWeight result;
  const auto put = [&](size_t at, float value) {
    const uint16_t half = to_half(value);
    std::memcpy(result.bytes.data() + at, &half, 2);
  };
  if (!is_quantised(type)) {
    const auto each = static_cast<size_t>(element_bytes(type));
    result.bytes.resize(static_cast<size_t>(rows * columns) * each);
    for (int64_t i = 0; i < rows * columns; ++i) {
      const float value = normal(random);
      const auto at = static_cast<size_t>(i) * each;
      if (type == WeightType::kF16) {
        put(at, value);
      } else {  // bf16: the upper half of an fp32
        std::memcpy(result.bytes.data() + at, reinterpret_cast<const char*>(&value) + (4 - each), each);
      }
    }
  } else {
    const int64_t blocks = rows * columns / block.elements;
    result.bytes.resize(static_cast<size_t>(blocks * block.file_bytes));
    for (auto& b : result.bytes) b = static_cast<std::byte>(random() & 255u);
    for (int64_t b = 0; b < blocks; ++b) {
      const auto at = static_cast<size_t>(b * block.file_bytes);
      put(at + (type == WeightType::kQ6_K ? 208 : 0), normal(random));
      if (type == WeightType::kQ4_1 || type == WeightType::kQ4_K) put(at + 2, normal(random));
    }
  }
  result.weight = {type, rows, columns, result.bytes.data()};
  return result;
}

inline std::vector<float> random_floats(int64_t count, std::mt19937& random, float size = 1) {
  std::normal_distribution<float> normal(0, size);
  std::vector<float> all(static_cast<size_t>(count));
  for (float& x : all) x = normal(random);
  return all;
}

inline bool same_bits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

}  // namespace shoal::infer
