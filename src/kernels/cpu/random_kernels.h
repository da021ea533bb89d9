// Kernels that draw random numbers by counter: a number is a function of (seed, step, microbatch), of the
// node's stream and of the element's number, its place in the memory of the result (docs/numerics.md, "random
// numbers"). The same numbers on every layout, with any number of threads, on every kind of CPU.
#pragma once

#include <string>

#include "kernels/kernel.h"

namespace shoal::kernels {

/// Of a random operator; null: it cannot be drawn by counter, or is not random. A kernel throws
/// std::invalid_argument on parameters that its distribution does not have.
Kernel find_random_kernel(const std::string& op);

}  // namespace shoal::kernels
