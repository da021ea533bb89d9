// Passes that keep every bit: one file, one function each. Those that change bits are in numerics/passes.h.
#pragma once

#include "graph/graph.h"

namespace shoal::graph {

/// Drops nodes whose results nobody uses, and inputs (constants, buffers) that nothing reads; parameters and
/// batch stay. Bits: preserving.
Graph remove_dead_code(Graph);

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

}  // namespace shoal::graph
