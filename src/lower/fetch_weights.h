// A pass over a device's graph: parameters that other devices keep (zero = 3) are fetched where they are needed.
#pragma once

#include "lower/local_graph.h"
#include "lower/ownership.h"

namespace shoal::lower {

bool is_fetch(const graph::Node&);

/// Before the first node of a phase that reads a parameter which `rank` does not keep whole stands
/// `shoal::fetch(unit)`, whose result those readers take in its place, and the views of it; so the copy is gone
/// after the last of them (lower/gather_plan.h). REQUIRES: `local` is of this rank. Bits: preserving.
LocalGraph fetch_weights(LocalGraph local, const Ownership&, int rank);

}  // namespace shoal::lower
