// Logarithm, exponential, sine and cosine from additions, multiplications and divisions alone, which IEEE 754
// rounds alike on every machine: random numbers that are made of them do not depend on a maths library, nor
// on which of its versions a CPU gets. Within a few units in the last place of a double.
#pragma once

#include <array>
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <utility>

namespace shoal {

inline constexpr double kPi = 3.14159265358979323846;

namespace detail {
// ln 2 in two parts, the first with zeros at its end: a multiple of it by an exponent is exact.
inline constexpr double kLn2High = 0x1.62e42fee00000p-1, kLn2Low = 0x1.a39ef35793c76p-33;

// Coefficients, so that no series divides while it runs: number i is 1 / of(i).
template <size_t count, class Of>
constexpr std::array<double, count> reciprocals(Of of) {
  std::array<double, count> all{};
  for (size_t i = 0; i < count; ++i) all[i] = 1.0 / static_cast<double>(of(i));
  return all;
}
inline constexpr auto kLog = reciprocals<11>([](size_t i) { return 2 * i + 3; });
inline constexpr auto kExp = reciprocals<14>([](size_t i) { return i + 1; });
inline constexpr auto kSine = reciprocals<9>([](size_t i) { return (2 * i + 2) * (2 * i + 3); });
inline constexpr auto kCosine = reciprocals<9>([](size_t i) { return (2 * i + 2) * (2 * i + 1); });
}  // namespace detail

/// REQUIRES: x is 0, or positive and normal. The logarithm of 0 is -infinity.
inline double natural_log(double x) {
  if (x == 0) return -std::numeric_limits<double>::infinity();
  // x = 2^exponent m, with m around 1
  const auto bits = std::bit_cast<uint64_t>(x);
  auto exponent = static_cast<int64_t>(bits >> 52) - 1023;
  double m = std::bit_cast<double>((bits & 0x000fffffffffffffu) | 0x3ff0000000000000u);
  if (m > 1.4142135623730951) {
    m *= 0.5;
    ++exponent;
  }
  // log m = 2 (s + s^3/3 + s^5/5 + ...) for s = (m - 1) / (m + 1), below 0.172
  const double s = (m - 1) / (m + 1), z = s * s;
  double series = 0;
  for (size_t i = detail::kLog.size(); i-- > 0;) series = (series + detail::kLog[i]) * z;
  const auto whole = static_cast<double>(exponent);
  return whole * detail::kLn2High + (whole * detail::kLn2Low + (2 * s + 2 * s * series));
}

/// Infinity where the result is too large, 0 where it is too small.
inline double natural_exp(double x) {
  if (x > 709.78) return std::numeric_limits<double>::infinity();
  if (x < -745.2) return 0;
  const double whole = std::floor(x * 1.4426950408889634 + 0.5);
  const double rest = (x - whole * detail::kLn2High) - whole * detail::kLn2Low;  // below 0.347
  double series = 1;
  for (size_t i = detail::kExp.size(); i-- > 0;) series = 1 + series * rest * detail::kExp[i];
  return std::ldexp(series, static_cast<int>(whole));
}

/// Sine and cosine of 2 pi turn. REQUIRES: 0 <= turn <= 1.
inline std::pair<double, double> sine_and_cosine(double turn) {
  const int quarter = static_cast<int>(turn * 4 + 0.5);
  const double angle = (turn - quarter * 0.25) * (2 * kPi), z = angle * angle;  // the angle is below pi/4
  double sine = 1, cosine = 1;
  for (size_t i = detail::kSine.size(); i-- > 0;) {
    sine = 1 - sine * z * detail::kSine[i];
    cosine = 1 - cosine * z * detail::kCosine[i];
  }
  sine *= angle;
  switch (quarter % 4) {
    case 1:
      return {cosine, -sine};
    case 2:
      return {-sine, -cosine};
    case 3:
      return {-cosine, sine};
    default:
      return {sine, cosine};
  }
}

}  // namespace shoal
