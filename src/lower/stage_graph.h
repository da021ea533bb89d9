// A pass over a device's graph: what is left of it where other devices compute the other stages (pp). Nodes are put
// in the order of blocks, and what crosses from a device to another is a transfer: `shoal::send` at the end of the
// block that makes it, `shoal::receive` at the beginning of the block that needs it first.
#pragma once

#include "lower/local_graph.h"
#include "lower/stages.h"

namespace shoal::lower {

bool is_send(const graph::Node&);
bool is_receive(const graph::Node&);

/// `local` is of the divided graph that `stages` places, whose nodes are in `blocks` (Stages::blocks). `orders`: the
/// blocks that each device of the pipeline computes of a microbatch, in order; `pp` is the device's coordinate. Bits:
/// preserving.
LocalGraph stage_graph(LocalGraph local, const Stages& stages, const std::vector<int>& blocks,
                       const std::vector<std::vector<int>>& orders, int pp);

}  // namespace shoal::lower
