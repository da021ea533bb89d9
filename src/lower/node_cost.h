// What a node costs, as far as its operator's rule tells: enough to balance stages and to choose what to compute twice.
#pragma once

#include "graph/graph.h"

namespace shoal::lower {

/// Seconds on a core of today; only proportions count.
double seconds_of(const graph::Graph&, const graph::Node&);

}  // namespace shoal::lower
