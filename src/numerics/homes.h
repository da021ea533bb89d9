// Where each value of a graph lives: cut along one dim, or whole (steps 1 to 3 of numerics/cut_map.h).
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "numerics/dataflow.h"

namespace shoal::numerics {

using Homes = std::vector<std::optional<graph::Cut>>;  // by value; nothing: whole

/// `fixed`: the cuts of parameters, where they are decided already; else null.
Homes choose_homes(const Dataflow&, const std::map<std::string, graph::Cut>* fixed);

}  // namespace shoal::numerics
