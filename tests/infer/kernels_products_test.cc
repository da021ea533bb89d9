// Products of all types of weights: near fp64, the same bits for every instruction set, and for a row alone
// or among others.
#include <gtest/gtest.h>

#include <cmath>

#include "infer/kernel_samples.h"

namespace shoal::infer {
namespace {

/// The product by a table's code; y has a stride of its own, and what lies between its rows stays.
std::vector<float> product(const Code& code, const PackedMatrix& w, const std::vector<float>& x,
                           int64_t first, int64_t rows) {
  Activations activations;  // gives the memory; what fills it is `code`
  activations.set(w.type(), x.data() + first * w.columns(), rows, w.columns(), w.columns());
  code.activations(w.type(), x.data() + first * w.columns(), w.columns(), activations.impl().view);
  const int64_t stride = w.rows() + 3;
  std::vector<float> wide(static_cast<size_t>(rows * stride), -7.0f), y;
  code.matmul(w.impl(), activations.impl().view, wide.data(), stride);
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t o = 0; o < stride; ++o) {
      const float value = wide[static_cast<size_t>(r * stride + o)];
      if (o < w.rows()) {
        y.push_back(value);
      } else {
        EXPECT_EQ(value, -7.0f) << "between rows " << r << " and " << r + 1;
      }
    }
  }
  return y;
}

int64_t block_of(WeightType type) { return is_quantised(type) ? tile_block(type).elements : 1; }
std::string name_of(WeightType type) { return "type " + std::to_string(static_cast<int>(type)); }

TEST(KernelsProducts, AreNearFp64) {
  std::mt19937 random(1);
  for (const WeightType type : kAllTypes) {
    const int64_t rows = 37, columns = 512, batch = 3;
    const auto weight = random_weight(type, rows, columns, random);
    const auto x = random_floats(batch * columns, random);
    const auto y = product(kScalarCode, PackedMatrix(weight.weight, 0, rows), x, 0, batch);
    std::vector<float> w(static_cast<size_t>(columns));
    for (int64_t o = 0; o < rows; ++o) {
      dequantise_row(weight.weight, o, w.data());
      for (int64_t r = 0; r < batch; ++r) {
        double sum = 0, size = 0;
        for (int64_t i = 0; i < columns; ++i) {
          const double term =
              static_cast<double>(w[static_cast<size_t>(i)]) * x[static_cast<size_t>(r * columns + i)];
          sum += term, size += term * term;
        }
        // Rounding of the activations: to 8 bits of the largest of a block, 11 bits, or none.
        const double bound = is_quantised(type) ? 0.04 : type == WeightType::kF16 ? 1e-3 : 2e-6;
        EXPECT_NEAR(y[static_cast<size_t>(r * rows + o)], sum, bound * std::sqrt(size))
            << name_of(type) << " row " << o;
      }
    }
  }
}

TEST(KernelsProducts, AreTheSameForEveryInstructionSetAndNumberOfRows) {
  std::mt19937 random(2);
  for (const WeightType type : kAllTypes) {
    for (int shape = 0; shape < 6; ++shape) {
      const int64_t block = block_of(type);
      const int64_t rows = 1 + static_cast<int64_t>(random() % 70);
      const int64_t columns = block == 1
                                  ? 1 + static_cast<int64_t>(random() % 300)
                                  : block * (1 + static_cast<int64_t>(random() % (block == 32 ? 9 : 3)));
      const int64_t batch = 1 + static_cast<int64_t>(random() % 33);
      const auto weight = random_weight(type, rows, columns, random);
      auto x = random_floats(batch * columns, random);
      if (shape == 1) std::fill(x.begin(), x.begin() + columns, 0.0f);  // a row of zeros has no scale
      const PackedMatrix packed(weight.weight, 0, rows);
      const auto together = product(kScalarCode, packed, x, 0, batch);
      for (const auto& [name, code] : other_codes()) {
        EXPECT_TRUE(same_bits(product(*code, packed, x, 0, batch), together))
            << name_of(type) << " " << name << " " << rows << " x " << columns << ", " << batch << " rows";
      }
      auto codes = other_codes();
      codes.push_back({"scalar", &kScalarCode});
      for (const auto& [name, code] : codes) {
        const int64_t first = static_cast<int64_t>(random() % static_cast<unsigned>(batch));
        const int64_t some = 1 + static_cast<int64_t>(random() % static_cast<unsigned>(batch - first));
        const auto part = product(*code, packed, x, first, some);
        const std::vector<float> expected(together.begin() + first * rows,
                                          together.begin() + (first + some) * rows);
        EXPECT_TRUE(same_bits(part, expected))
            << name_of(type) << " " << name << " rows " << first << " + " << some;
      }
    }
  }
}

TEST(KernelsProducts, EveryNumberOfRowsFromOneTo33) {
  std::mt19937 random(3);
  for (const WeightType type : kAllTypes) {
    const int64_t rows = 33, columns = 256;
    const auto weight = random_weight(type, rows, columns, random);
    const auto x = random_floats(33 * columns, random);
    const PackedMatrix packed(weight.weight, 0, rows);
    const auto all = product(kScalarCode, packed, x, 0, 33);
    for (const auto& [name, code] : other_codes()) {
      for (int64_t batch = 1; batch <= 33; ++batch) {
        EXPECT_TRUE(same_bits(product(*code, packed, x, 0, batch), {all.begin(), all.begin() + batch * rows}))
            << name_of(type) << " " << name << " " << batch << " rows";
      }
    }
  }
}

TEST(KernelsProducts, PartsOfAWeightGiveThePartsOfTheProduct) {
  std::mt19937 random(4);
  for (const WeightType type : kAllTypes) {
    const int64_t rows = 50, columns = 256;
    const auto weight = random_weight(type, rows, columns, random);
    const auto x = random_floats(2 * columns, random);
    const auto whole = product(code(), PackedMatrix(weight.weight, 0, rows), x, 0, 2);
    const auto part = product(code(), PackedMatrix(weight.weight, 19, 20), x, 0, 2);
    for (int64_t r = 0; r < 2; ++r) {
      for (int64_t o = 0; o < 20; ++o) {
        EXPECT_EQ(part[static_cast<size_t>(r * 20 + o)], whole[static_cast<size_t>(r * rows + 19 + o)])
            << name_of(type);
      }
    }
  }
}

TEST(KernelsProducts, ExtremesOfQuants) {  // all quants at their ends: no product of words may saturate
  for (const WeightType type :
       {WeightType::kQ8_0, WeightType::kQ4_0, WeightType::kQ4_1, WeightType::kQ4_K, WeightType::kQ6_K}) {
    for (const int fill : {0x00, 0x7f, 0x80, 0x81, 0xff}) {
      std::mt19937 random(5);
      auto weight = random_weight(type, 16, 256, random);
      const TileBlock block = tile_block(type);
      for (size_t i = 0; i < weight.bytes.size(); ++i) {
        const auto in_block = static_cast<int64_t>(i) % block.file_bytes;
        if (type == WeightType::kQ6_K ? in_block < 208 : in_block >= 4)
          weight.bytes[i] = static_cast<std::byte>(fill);
      }
      for (const float size : {1.0f, -1.0f}) {
        const std::vector<float> x(256, size);
        const PackedMatrix packed(weight.weight, 0, 16);
        const auto expected = product(kScalarCode, packed, x, 0, 1);
        for (const auto& [name, code] : other_codes()) {
          EXPECT_TRUE(same_bits(product(*code, packed, x, 0, 1), expected))
              << name_of(type) << " " << name << " " << fill;
        }
      }
    }
  }
}

}  // namespace
}  // namespace shoal::infer
