// The one runner of passes. Which passes, and in which order, is said in numerics/canonicalize.cc and
// numerics/divided_run.cc.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "graph/graph.h"

namespace shoal::graph {

/// What a pass does to the bits of what leaves the graph.
enum class Bits {
  kPreserved,  // nothing (passes.h)
  kChanged,    // the same mathematics, rounded or summed otherwise (numerics/passes.h)
};

struct Pass {
  std::string name;
  Bits bits;
  std::function<Graph(Graph)> run;
};

/// Runs them in order and verifies after each; after one that preserves bits also that as much leaves the graph
/// as before, of the same types. Throws JobError that names the pass.
Graph run_passes(Graph, const std::vector<Pass>&);

}  // namespace shoal::graph
