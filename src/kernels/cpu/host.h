// The host: where a model's C++ code reads and writes numbers, and where what is known of them early is computed.
// It is a CPU whatever device computes.
#pragma once

#include <c10/core/DeviceType.h>

namespace shoal::kernels {

inline constexpr c10::DeviceType kHost = c10::DeviceType::CPU;

}  // namespace shoal::kernels
