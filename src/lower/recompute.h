// A pass over the divided graph of training: backward computes again some of what it reads of forward, so that
// devices need not keep it meanwhile. The same kernels run on the same numbers, dropout draws by the same counters:
// the bits are the same.
//
// Sources: blocks whose inputs alone are kept, Chen et al. 2016; some operators alone, Korthikanti et al. 2022.
#pragma once

#include "graph/graph.h"
#include "lower/node_cost.h"
#include "lower/stages.h"
#include "shoal/layout.h"

namespace shoal::lower {

/// Nodes that compute again stand in backward, before the first that reads them, and in `stages` with it. Nothing
/// crosses a stage for them: a stage computes again what it computed. REQUIRES: `stages` are of the graph. Bits:
/// preserving.
void recompute(graph::Graph&, Stages& stages, Recompute, const NodeCosts& = {});

}  // namespace shoal::lower
