// How each node of a graph is divided, given where its values live (step 4 of numerics/cut_map.h).
#pragma once

#include <optional>
#include <vector>

#include "numerics/dataflow.h"
#include "numerics/homes.h"

namespace shoal::numerics {

using Divisions = std::vector<std::optional<ops::Division>>;  // by node; nothing: whole

Divisions choose_divisions(const Dataflow&, const Homes&);

/// Partial sums that are only viewed, or added to others, stay partial for that, and are combined once.
void pass_partial_sums(const Dataflow&, Divisions&);

}  // namespace shoal::numerics
