// A graph and its cut map become a divided graph: the virtual program of a run with C tensor chunks
// (docs/numerics.md).
//
// It is a Graph like any other. A node that is divided stands C times, once for each part, on the part's own
// shapes; Node::part says which. Between them stand operators of ours that convert: cut_part (whole -> part),
// join_parts (parts -> whole), recut_part (parts along one dim -> part along another), reduce_parts and
// reduce_cut (partial sums -> whole, or part, along the tree over [0, C)), restride (a whole that was put
// together -> as it lies in memory undivided). Nothing here knows how many devices there are: local_graph.h
// takes from it what one device does. One device does all of it.
#pragma once

#include "graph/graph.h"
#include "numerics/cut_map.h"

namespace shoal::numerics {

/// REQUIRES: the map was made for this graph. With parts = 1: the graph itself.
graph::Graph divide(const graph::Graph&, const CutMap&);

}  // namespace shoal::numerics
