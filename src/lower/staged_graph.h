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
Ownership own(const graph::Graph& divided, const Storage&, const Layout&, StageCut cut = {}, Grid grid = {},
              NodeCosts costs = {});

/// What devices run parts of.
struct StagedGraph {
  graph::Graph graph;
  Stages stages;                 // of its nodes; of none where nobody asks
  std::vector<StageCost> costs;  // with pp > 1, in training
  std::vector<int> blocks;       // by node (Stages::blocks)
  std::vector<std::vector<int>> orders;  // by device of the pipeline: the blocks that it computes of a microbatch, in order
};
/// With what devices compute again.
StagedGraph stage_training(const graph::Graph& divided, const Ownership&);
StagedGraph stage_evaluation(const graph::Graph& divided, const Ownership&);

/// In which order the devices of a pipeline compute, made once for each number of microbatches.
class Grids {
 public:
  struct Timed {
    Grid grid;
    Timeline line;  // when its passes begin and end, were a message instant
  };

  /// `costs`: none where passes cost alike. Both are kept by reference.
  Grids(const Ownership& ownership, const std::vector<StageCost>& costs) : ownership_(ownership), costs_(costs) {}

  /// Throws InputError where a grid of the user's has other microbatches.
  const Timed& of(int64_t microbatches);

 private:
  const Ownership& ownership_;
  const std::vector<StageCost>& costs_;
  std::map<int64_t, Timed> grids_;
};

}  // namespace shoal::lower
