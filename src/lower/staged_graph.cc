#include "lower/staged_graph.h"

#include "base/text.h"
#include "lower/recompute.h"
#include "shoal/error.h"

namespace shoal::lower {
namespace {

// All microbatches go through the passes of a device in one order, so that of one is enough.
void order_blocks(StagedGraph& model, const Ownership& ownership) {
  Grid grid;
  if (model.stages.count > 1)
    grid = ownership.grid().empty() ? schedule_pipeline(ownership.layout(), 1) : ownership.grid();
  const bool splits_first = splits_first_stage(grid);
  model.blocks = model.stages.blocks(splits_first);
  for (int device = 0; device < std::ssize(grid); ++device) {
    std::vector<int>& order = model.orders.emplace_back();
    for (const Turn& turn : turns_of_microbatch(grid, device, 0))
      for (const Stages::Place& place : places_of(turn, splits_first)) order.push_back(model.stages.block_of(place));
  }
}

}  // namespace

Ownership own(const graph::Graph& divided, const Storage& storage, const Layout& layout, StageCut cut, Grid grid,
              NodeCosts costs) {
  if (layout.pp == 1) {
    if (!grid.empty()) throw InputError("pipeline - schedule: got a grid without pp, want pp=2 or more with it");
    if (!cut.empty()) throw InputError(cat("pipeline - stages: got ", cut[0], " without pp, want pp=2 or more with it"));
    return {storage, layout, std::move(costs)};
  }
  if (cut.empty()) cut = balanced_cut(divided, layout.stages(), costs);
  if (std::ssize(cut) + 1 != layout.stages())
    throw InputError(cat("pipeline - stages: got ", cut.size(), " parameters at which stages begin, want ", layout.stages() - 1));
  if (!grid.empty()) simulate(grid, layout, num_microbatches(grid));
  const StageUses uses(divided, assign_stages(divided, cut), storage);
  return {storage, layout, std::move(cut), uses, std::move(grid), std::move(costs)};
}

StagedGraph stage_training(const graph::Graph& divided, const Ownership& ownership) {
  const Recompute mode = ownership.layout().recompute;
  StagedGraph model{.graph = divided};
  if (!ownership.cut().empty() || mode != Recompute::kNone) model.stages = assign_stages(divided, ownership.cut());
  recompute(model.graph, model.stages, mode, ownership.costs());
  if (!ownership.cut().empty()) model.costs = stage_costs(model.graph, model.stages, ownership.costs());
  order_blocks(model, ownership);
  return model;
}

StagedGraph stage_evaluation(const graph::Graph& divided, const Ownership& ownership) {
  StagedGraph model{.graph = divided};
  if (!ownership.cut().empty()) model.stages = assign_stages(divided, ownership.cut());
  order_blocks(model, ownership);
  return model;
}

const Grids::Timed& Grids::of(int64_t microbatches) {
  if (const auto known = grids_.find(microbatches); known != grids_.end()) return known->second;
  const Layout& layout = ownership_.layout();
  const TurnCost cost = costs_.empty() ? unit_cost : turn_cost(costs_);
  Grid grid = ownership_.grid().empty() ? schedule_pipeline(layout, microbatches, cost) : ownership_.grid();
  Timeline line = simulate(grid, layout, microbatches, cost);
  return grids_.emplace(microbatches, Timed{std::move(grid), std::move(line)}).first->second;
}

}  // namespace shoal::lower
