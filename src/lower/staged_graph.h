// A divided graph made ready for the devices of a pipeline: where it is cut, what backward computes again, in which order
// who computes what. Nothing in it is of one device.
#pragma once

#include <map>
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

/// In which order the devices of a pipeline compute, made once for each number of microbatches.
class Grids {
 public:
  /// `costs`: none where passes cost alike. Both are kept by reference.
  Grids(const Ownership& ownership, const std::vector<StageCost>& costs) : ownership_(ownership), costs_(costs) {}

  const Grid& of(int64_t microbatches);
  /// When its passes begin and end, were a message instant.
  Timeline timeline(int64_t microbatches);

 private:
  TurnCost cost() const { return costs_.empty() ? unit_cost : turn_cost(costs_); }

  const Ownership& ownership_;
  const std::vector<StageCost>& costs_;
  std::map<int64_t, Grid> grids_;
};

/// By device: the blocks (Stages::blocks) that it computes of a microbatch, in order.
std::vector<std::vector<int>> orders_of(const Stages&, const Grid&);

}  // namespace shoal::lower
