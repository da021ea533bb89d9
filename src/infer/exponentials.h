// Many exponentials at once, for distributions over vocabularies: as base/elementary.h from additions and
// multiplications alone, the same bits on every machine, in loops that a compiler turns into vectors.
#pragma once

#include <span>

namespace shoal::infer {

/// out[i] = exp((logits[i] - largest) / temperature), but 0 where that is below exp(-60), and where it is no
/// number. REQUIRES: largest is finite and none is larger.
void exponentials(std::span<const double> logits, double largest, double temperature, std::span<double> out);

/// The sum of exp(logits[i] - largest), in 8 sums of every 8th, then ((0+1)+(2+3))+((4+5)+(6+7)).
double sum_of_exponentials(std::span<const float> logits, float largest);

}  // namespace shoal::infer
