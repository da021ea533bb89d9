#include "app/generate.h"

#include <gtest/gtest.h>

#include <cmath>

#include "base/random.h"

namespace shoal::app {
namespace {

TEST(ChooseTokenTest, GreedyTakesTheFirstOfTheLargest) {
  EXPECT_EQ(choose_token({0.5, 2, -1, 2}, {}, 0.99), 1);
}

TEST(ChooseTokenTest, SamplesFollowTheSoftmax) {
  const std::vector<double> logits = {std::log(1.0), std::log(5.0), std::log(2.0), std::log(2.0)};
  std::vector<int> counts(4);
  constexpr int kDraws = 20'000;
  for (int i = 0; i < kDraws; ++i)
    ++counts[static_cast<size_t>(choose_token(logits, {.temperature = 1}, random_unit(7, 0, i)))];
  for (size_t token = 0; token < 4; ++token) {
    const double want = kDraws * std::exp(logits[token]) / 10;
    EXPECT_NEAR(counts[token], want, 5 * std::sqrt(want)) << token;
  }
}

TEST(ChooseTokenTest, TopKLeavesOutTheRest) {
  const std::vector<double> logits = {1, 3, 2, 2.5};
  for (int i = 0; i < 200; ++i) {
    const int64_t token = choose_token(logits, {.temperature = 5, .top_k = 2}, random_unit(1, 1, i));
    EXPECT_TRUE(token == 1 || token == 3) << token;
  }
  EXPECT_EQ(choose_token(logits, {.temperature = 5, .top_k = 1}, 0.999), 1);
}

TEST(ChooseTokenTest, ALowTemperatureIsAlmostGreedyAndOverflowsNothing) {
  EXPECT_EQ(choose_token({1000, 999, -1000}, {.temperature = 0.01}, 0.999), 0);
}

}  // namespace
}  // namespace shoal::app
