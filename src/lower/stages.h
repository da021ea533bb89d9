// Cuts a model between its layers: which stage computes each node of the graph, forward and backward.
//
// Forward is cut in the order of its nodes, so any model can be cut anywhere: values that jump over stages, tied
// weights and shared modules are edges like others. A cut is named by parameters, which stay while shapes change: a
// stage begins at the first node that reads its parameter. A node of backward belongs to the stage of the node of
// forward whose gradient it computes.
#pragma once

#include <string>
#include <vector>

#include "graph/graph.h"
#include "lower/node_cost.h"
#include "lower/pipeline_schedule.h"
#include "lower/storage.h"

namespace shoal::lower {

/// The parameters at which stages 1, 2, ... begin.
using StageCut = std::vector<std::string>;

/// The cut into `count` stages whose slowest costs least; of cuts that are nearly as good the one over whose edges
/// fewest bytes go. Costs count forward and backward. Throws InputError when the model has too few parameters.
StageCut balanced_cut(const graph::Graph&, int64_t count, const NodeCosts& = {});

struct Stages {
  enum class Work { kForward, kBackward, kWeightGradient };  // the last: only gradients of parameters depend on it
  struct Place {
    int stage = 0;
    Work work = Work::kForward;
    friend bool operator==(const Place&, const Place&) = default;
  };
  int count = 1;
  std::vector<Place> nodes;  // by node of the graph
  int of_result = 0;         // where the loss is made

  /// By node: the pass of a stage that has it, counted in the order in which a microbatch goes through them: forward
  /// of each stage, then from the last to the first backward and weight gradients; of the first stage these are one,
  /// unless the grid `splits_first`.
  std::vector<int> blocks(bool splits_first) const;
  int block_of(Place) const;
  Place place_of(int block) const;
};

/// What a turn computes: all of backward is both its passes, where its stage has two.
std::vector<Stages::Place> places_of(const Turn&, bool splits_first);

/// Throws InputError when the graph reads the cut's parameters in another order.
Stages assign_stages(const graph::Graph&, const StageCut&);

/// Seconds of each stage's work on a microbatch.
struct StageCost {
  double forward = 0, backward = 0, weight_gradient = 0;
};
std::vector<StageCost> stage_costs(const graph::Graph&, const Stages&, const NodeCosts& = {});
TurnCost turn_cost(std::vector<StageCost>);

/// What each stage has to do with the units of a storage.
struct StageUses {
  std::vector<std::vector<int>> readers;        // by unit: the stages that read it, in order
  std::vector<std::vector<int>> contributions;  // by unit and contribution: the stage that makes it
  int of_result = 0;

  /// Of an undivided model.
  explicit StageUses(const Storage&);
  StageUses(const graph::Graph&, const Stages&, const Storage&);
};

}  // namespace shoal::lower
