// Passes that make a graph easier to divide. Only runs with tensor_chunks > 1 have them.
#pragma once

#include "graph/graph.h"

namespace shoal::plan {

/// Embedding and cross-entropy as operators that a vocabulary can be divided in (run/vocabulary_kernels.cc);
/// log_softmax with nll_loss, forward and backward, becomes three of them and the logits are read where they
/// lie. Bits: changes them (same mathematics; a sum over rows is in fp64 and rounded once a part, eager's is
/// in fp32).
graph::Graph open_vocabulary(graph::Graph);

/// Products and convolutions without their bias ("+" in the operator's rule), which is added by a node of its
/// own: when the product is a sum of partial products, the bias comes after it. Bits: changes them (one more
/// rounding in bf16).
graph::Graph split_biases(graph::Graph);

}  // namespace shoal::plan
