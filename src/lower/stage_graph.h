// A pass over a device's graph: what is left of it where other devices compute the other stages (pp). Nodes are put
// in the order of blocks, and what crosses from a device to another is a transfer: `shoal::send` at the end of the
// block that makes it, `shoal::receive` at the beginning of the block that needs it first.
#pragma once

#include "lower/local_graph.h"
#include "lower/stages.h"
#include "shoal/layout.h"

namespace shoal::lower {

bool is_send(const graph::Node&);
bool is_receive(const graph::Node&);

/// `local` is of the divided graph that `stages` places; `pp` is the device's coordinate. Weight gradients have
/// blocks of their own where `splits_backward`. Bits: preserving.
LocalGraph stage_graph(LocalGraph local, const Stages& stages, const Layout&, int pp, bool splits_backward);

}  // namespace shoal::lower
