// How long nodes take on this device, found by running them.
#pragma once

#include "kernels/device.h"
#include "lower/node_cost.h"

namespace shoal::run {

/// The shortest of a few runs of the node, on numbers of no meaning; nothing is kept. Takes memory for its tensors. By
/// the clock, so never the same twice. Where the kernel cannot run on such numbers: 0.
double measured_seconds(const lower::KindOfNode&, kernels::Device&);

}  // namespace shoal::run
