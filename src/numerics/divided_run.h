// The graph that a run with tensor chunks executes: the captured one, opened, cut and divided
// (docs/numerics.md, "the cut map").
#pragma once

#include <map>
#include <string>

#include "graph/graph.h"

namespace shoal::numerics {

struct DividedRun {
  graph::Graph graph;   // the captured one when chunks = 1
  std::string cut_map;  // as text; "" when chunks = 1
};

/// `fixed`: how the run's first graph has cut the parameters; null for the first itself. Throws InputError
/// when `chunks` divide less than half of the model's operations, naming numbers that divide more, or the
/// operators whose lack of a rule is the reason.
DividedRun divide_run(graph::Graph captured, int64_t chunks, const std::map<std::string, graph::Cut>* fixed);

}  // namespace shoal::numerics
