// What the nodes of a run's graph cost on its devices, measured once and the same for all of them.
#pragma once

#include "comm/group.h"
#include "kernels/device.h"
#include "lower/node_cost.h"
#include "shoal/layout.h"
#include "shoal/trainer.h"

namespace shoal::session {

/// Measured on the group's first member; the others get its figures, since all must divide the work alike. By the
/// rules where nothing is decided by costs: no pipeline, nothing selective. Collective.
lower::NodeCosts measured_costs(const graph::Graph& divided, const Layout&, kernels::Device&, comm::Group&);

}  // namespace shoal::session
