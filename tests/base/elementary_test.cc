#include "base/elementary.h"

#include <gtest/gtest.h>

#include "base/random.h"

namespace shoal {
namespace {

// Against the maths library, in units of the last place of the larger of result and `scale`.
double units_apart(double got, double want, double scale = 0) {
  const double largest = std::max(std::abs(want), scale);
  return std::abs(got - want) / (std::nextafter(largest, 2 * largest) - largest);
}

TEST(Elementary, LogarithmAgreesWithTheMathsLibrary) {
  for (uint64_t i = 0; i < 100'000; ++i) {
    const double unit = random_unit(1, 2, i) + 0x1p-54;
    for (const double x : {unit, 0.999 + unit / 500, unit * 0x1p-300, unit * 1e300})
      ASSERT_LT(units_apart(natural_log(x), std::log(x)), 4) << x;
  }
  EXPECT_EQ(natural_log(1), 0);
  EXPECT_LT(natural_log(1 - 0x1p-53), 0);
  EXPECT_EQ(natural_log(0), -std::numeric_limits<double>::infinity());
}

TEST(Elementary, ExponentialAgreesWithTheMathsLibrary) {
  for (uint64_t i = 0; i < 100'000; ++i) {
    const double x = 1400 * random_unit(1, 2, i) - 700;
    ASSERT_LT(units_apart(natural_exp(x), std::exp(x)), 4) << x;
  }
  EXPECT_EQ(natural_exp(0), 1);
  EXPECT_EQ(natural_exp(-1000), 0);
  EXPECT_EQ(natural_exp(1000), std::numeric_limits<double>::infinity());
}

TEST(Elementary, SineAndCosineAgreeWithTheMathsLibrary) {
  for (uint64_t i = 0; i < 100'000; ++i) {
    const double turn = random_unit(1, 2, i);
    const auto [sine, cosine] = sine_and_cosine(turn);
    ASSERT_LT(units_apart(sine, std::sin(2 * kPi * turn), 1), 4) << turn;  // 2 pi turn is rounded itself
    ASSERT_LT(units_apart(cosine, std::cos(2 * kPi * turn), 1), 4) << turn;
  }
  EXPECT_EQ(sine_and_cosine(0).first, 0);
  EXPECT_EQ(sine_and_cosine(0.25).second, 0);
  EXPECT_EQ(sine_and_cosine(0.5).first, 0);
  EXPECT_EQ(sine_and_cosine(0.5).second, -1);
}

}  // namespace
}  // namespace shoal
