// What must be set before the first kernel runs so that bits repeat.
#pragma once

#include <string>

namespace shoal::kernels {

/// Sets MKL's strict reproducible mode, once per process; must come before MKL's first call. Returns the kind
/// of device that bits depend on ("cpu AVX512, mkl strict branch 10, libtorch 2.13.0"): part of a run's
/// definition. With it go, where they are set, the variables of the environment by which a library takes
/// other instructions than the CPU offers (", ONEDNN_MAX_CPU_ISA=SSE41"), and what the program has told
/// LibTorch of its kernels (", without onednn"). Throws InputError where LibTorch is told to round products
/// otherwise.
std::string make_reproducible();

}  // namespace shoal::kernels
