#include "infer/exponentials.h"

#include <array>
#include <bit>
#include <cstdint>

#include "base/elementary.h"

namespace shoal::infer {
namespace {

// exp(-60) of the largest adds nothing to a sum of fewer than 2^32 such in fp64.
constexpr double kNothing = -60;
constexpr double kShift = 0x1.8p52;  // added and taken away, it rounds to a whole number

// 1 / i!
constexpr auto kTerms = [] {
  std::array<double, 13> terms{1};
  for (size_t i = 1; i < terms.size(); ++i) terms[i] = terms[i - 1] / static_cast<double>(i);
  return terms;
}();

// Below 0. Within a few units in the last place; 0 where x is below kNothing or no number.
inline double small_exp(double x) {
  const double clamped = x > kNothing ? x : kNothing;
  const double shifted = clamped * 1.4426950408889634 + kShift;
  const double whole = shifted - kShift;
  const double rest = (clamped - whole * detail::kLn2High) - whole * detail::kLn2Low;  // at most 0.347
  double series = kTerms.back();
  for (size_t i = kTerms.size() - 1; i-- > 0;) series = kTerms[i] + series * rest;
  const uint64_t exponent = std::bit_cast<uint64_t>(shifted)
                            << 52;  // the whole number, where exponents stand
  const double result = std::bit_cast<double>(std::bit_cast<uint64_t>(series) + exponent);
  return x > kNothing ? result : 0;
}

}  // namespace

void exponentials(std::span<const double> logits, double largest, double temperature, std::span<double> out) {
  for (size_t i = 0; i < logits.size(); ++i) out[i] = small_exp((logits[i] - largest) / temperature);
}

double sum_of_exponentials(std::span<const float> logits, float largest) {
  constexpr size_t kLanes = 8;
  double sums[kLanes] = {};
  const size_t whole = logits.size() / kLanes * kLanes;
  for (size_t i = 0; i < whole; i += kLanes)
    for (size_t lane = 0; lane < kLanes; ++lane)
      sums[lane] += small_exp(static_cast<double>(logits[i + lane]) - static_cast<double>(largest));
  for (size_t i = whole; i < logits.size(); ++i)
    sums[i - whole] += small_exp(static_cast<double>(logits[i]) - static_cast<double>(largest));
  return ((sums[0] + sums[1]) + (sums[2] + sums[3])) + ((sums[4] + sums[5]) + (sums[6] + sums[7]));
}

}  // namespace shoal::infer
