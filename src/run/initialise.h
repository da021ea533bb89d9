// The first numbers of a described model.
#pragma once

#include <functional>

#include "graph/graph.h"
#include "kernels/device.h"

namespace shoal::run {

/// Replays a recorded constructor with the random numbers of torch::manual_seed(seed), in order; `take(index,
/// tensor)` gets each of the graph's results as soon as it is made. LibTorch's generator is left as it was.
/// Threads: any; calls wait for each other.
void initialise(kernels::Device&, const graph::Graph&, uint64_t seed,
                const std::function<void(int index, const at::Tensor&)>& take);

}  // namespace shoal::run
