// approx_quantile: a histogram of numbers by their first bits, so that merging is adding whole numbers: the
// same for every order of rows and every cut of the input.
//
// A cell is sign, exponent and the first kFractionBits bits of the fraction: its numbers differ by less than
// |x| / 256. The answer is the end of the cell that is nearer to zero, held to the least and the largest
// number there is: within |x| / 256 of the exact quantile, and exact for whole numbers up to 512.
#pragma once

#include <memory>

#include "flow/accumulator.h"

namespace shoal::flow {

inline constexpr int kFractionBits = 8;

/// Of whole numbers and fractions. `fraction` of the values (0 to 1) are at most the answer: the value of
/// rank ceil(fraction * n), from 1. NaN is above all numbers.
std::unique_ptr<Accumulator> make_quantile(double fraction, const std::string& place);

}  // namespace shoal::flow
