// What must be set before the first kernel runs so that bits repeat.
#pragma once

#include <string>

namespace shoal::run {

/// Sets MKL's strict reproducible mode, once per process; must come before MKL's first call. Returns the kind
/// of device that bits depend on ("cpu AVX512, mkl strict branch 10, libtorch 2.13.0"): part of a run's
/// definition.
const std::string& make_reproducible();

}  // namespace shoal::run
