// Which values of forward backward computes again, and which are kept for it.
#pragma once

#include <vector>

#include "graph/graph.h"
#include "lower/node_cost.h"
#include "lower/stages.h"
#include "shoal/layout.h"

namespace shoal::lower {

/// By value, whether backward computes it again.
///   kAll        forward is cut in blocks where little crosses from one to the next. What crosses is kept; what a
///               block has inside is computed again, but for the last block of all, whose backward comes at once. The
///               blocks are those for which what is kept, and a block's inside, are least together.
///   kSelective  what costs least time for each byte, up to a small part of the step.
/// What other parts or other stages have a say in is kept. `stages` are of the graph.
std::vector<bool> choose_recomputed(const graph::Graph&, const Stages& stages, Recompute, const NodeCosts& = {});

}  // namespace shoal::lower
