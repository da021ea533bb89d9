// Whether a recipe is that of the run which a checkpoint is of.
#pragma once

#include "app/recipe.h"
#include "app/samples.h"
#include "state/checkpoint.h"

namespace shoal::app {

/// Throws InputError that names the keys in which they differ, both values, where this run's was set, and
/// what goes on instead; also for other data. The trainer compares what no key says (the graph, the kind of
/// device).
void check_same_recipe(const Recipe&, const Samples&, const state::Checkpoint&);

}  // namespace shoal::app
