// What a batch must be, and what is known of it before its numbers are looked at.
#pragma once

#include <string>
#include <vector>

#include "graph/graph.h"
#include "kernels/device.h"
#include "shoal/model.h"

namespace shoal::session {

/// The number of samples: the common first dim. Throws InputError for what has none, or is not on the device.
int64_t check_batch(const Batch&, const kernels::Device&);

Batch contiguous(Batch);

/// Of each tensor, as it is when contiguous.
using Shapes = std::vector<graph::TensorType>;
Shapes shapes_of(const Batch&);
std::string print_shapes(const Shapes&);

}  // namespace shoal::session
