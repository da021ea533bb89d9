// A divided graph made ready for the devices of a pipeline: where it is cut, what backward computes again, in which order
// who computes what. Nothing in it is of one device.
#pragma once

#include <vector>

#include "lower/ownership.h"
#include "lower/stages.h"

namespace shoal::lower {

/// How the model is cut for a layout, from the graph that a run began with: `cut`, or where it is empty the balanced
/// one; in the order of `grid`, or the layout's. Throws InputError for a cut that the model or the layout cannot have.
Ownership own(const graph::Graph& divided, const Storage&, const Layout&, StageCut cut = {}, Grid grid = {});

/// What devices run parts of.
struct StagedGraph {
  graph::Graph graph;
  Stages stages;                 // of its nodes; of none where nobody asks
  std::vector<StageCost> costs;  // with pp > 1, in training
};
/// With what devices compute again.
StagedGraph stage_training(const graph::Graph& divided, const Ownership&);
StagedGraph stage_evaluation(const graph::Graph& divided, const Ownership&);

/// In which order the devices of a pipeline compute.
Grid grid_of(const Ownership&, int64_t microbatches, const std::vector<StageCost>&);

/// By device: the blocks (Stages::blocks) that it computes of a microbatch, in order.
std::vector<std::vector<int>> orders_of(const Stages&, const Grid&);

}  // namespace shoal::lower
