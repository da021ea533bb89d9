// Passes: one file, one function each. pipeline.cc shows the order and nothing else.
#pragma once

#include "graph/graph.h"

namespace shoal::graph {

/// Drops nodes whose results nobody uses, and inputs (constants, buffers) that nothing reads; parameters and
/// batch stay. Bits: preserving.
Graph remove_dead_code(Graph);

/// A gradient that is a sum of others (a tied weight) becomes a list of contributions, so that each is summed
/// over the microbatches on its own and they are added last (docs/numerics.md, "one tree"). Where three or more
/// addends all come from one operator, as those of a layer that is called at every step of a sequence, the
/// sum stays in the graph. Bits: the order of that sum is the run's definition.
Graph split_gradient_contributions(Graph);

/// Embedding gradients accumulate in fp32: in bf16 4,096 ones sum to 256 (docs/numerics.md, "bf16"). Bits:
/// part of what bf16 means.
Graph widen_embedding_gradients(Graph);

/// Gives values and random nodes their numbers in order of definition, so that two captures of one model
/// print alike. Bits: preserving.
Graph renumber(Graph);

/// Names for each node the module whose parameters it serves, by the parameters it reads and what its inputs
/// serve. Bits: preserving.
Graph infer_scopes(Graph);

/// A buffer of the module that forward changes: the input, and the value that replaces it.
struct ChangedBuffer {
  std::string name;
  ValueId before, after;
};

/// Moves the nodes that lead from old values of `changed` to new ones into graph.buffer_update, and has what
/// they read of the microbatch observed. Throws InputError when an output depends on an old value (spectral
/// norm): the microbatches could not be computed apart. Bits: preserving.
Graph split_buffer_updates(Graph, const std::vector<ChangedBuffer>& changed);

/// All of the above but split_buffer_updates, which capture calls before, in order, verified after each.
Graph canonicalize(Graph);

}  // namespace shoal::graph
