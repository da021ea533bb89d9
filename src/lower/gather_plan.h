// When a parameter that other devices keep has to be here (zero = 3).
#pragma once

#include <vector>

#include "graph/graph.h"

namespace shoal::lower {

/// A parameter of the graph is gathered before the first node of a phase that reads it and dropped after the
/// last: once in forward, once in backward (or once in all, should the phases be mixed).
struct ParameterUse {
  size_t input;        // index into graph.inputs
  size_t first, last;  // indices into graph.nodes
};

struct GatherPlan {
  std::vector<ParameterUse> uses;
  /// By input: nodes that only look at the parameter in another shape (a transpose, say). They would keep it
  /// from forward to backward; so they run right after each gathering, and not where they stand.
  std::vector<std::vector<size_t>> views;
};

/// For all inputs that are parameters. Throws InputError when LibTorch does not know an operator.
GatherPlan plan_gathers(const graph::Graph&);

}  // namespace shoal::lower
