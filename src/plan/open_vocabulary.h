#pragma once

#include "graph/graph.h"

namespace shoal::plan {

/// Embedding and cross-entropy as operators that a vocabulary can be divided in (run/vocabulary_kernels.cc); log_softmax
/// with nll_loss, forward and backward, becomes three of them and the logits are read where they lie. Only for runs with
/// tensor_chunks > 1. Bits: changes them (same mathematics; sums over rows are exact to fp64, one rounding each).
graph::Graph open_vocabulary(graph::Graph);

}  // namespace shoal::plan
