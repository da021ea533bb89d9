// Passes that decide bits: one file, one function each. They look at the graph and at the run's settings, never
// at the devices.
#pragma once

#include "graph/graph.h"

namespace shoal::numerics {

/// A gradient that is a sum of others (a tied weight) becomes a list of contributions, so that each is summed
/// over the microbatches on its own and they are added last (docs/numerics.md, "one tree"). Where three or more
/// addends all come from one operator, as those of a layer that is called at every step of a sequence, the
/// sum stays in the graph. Bits: the order of that sum is the run's definition.
graph::Graph split_gradient_contributions(graph::Graph);

/// Embedding gradients accumulate in fp32: in bf16 4,096 ones sum to 256 (docs/numerics.md, "bf16"). Bits:
/// part of what bf16 means.
graph::Graph widen_embedding_gradients(graph::Graph);

/// What every captured graph goes through, and the graph of its buffer update: the two above and the preserving
/// passes of graph/passes.h, in the order of canonicalize.cc.
graph::Graph canonicalize(graph::Graph);

// --- Those that make a graph easier to divide: only runs with tensor_chunks > 1 have them. ---

/// Embedding and cross-entropy as operators that a vocabulary can be divided in (kernels/cpu/vocabulary_kernels.cc);
/// log_softmax with nll_loss, forward and backward, becomes three of them and the logits are read where they
/// lie. Bits: changes them (same mathematics; a sum over rows is in fp64 and rounded once a part, eager's is
/// in fp32).
graph::Graph open_vocabulary(graph::Graph);

/// Products and convolutions without their bias ("+" in the operator's rule), which is added by a node of its
/// own: when the product is a sum of partial products, the bias comes after it. Bits: changes them (one more
/// rounding in bf16).
graph::Graph split_biases(graph::Graph);

}  // namespace shoal::numerics
