#include "lower/staged_graph.h"

#include "base/text.h"
#include "lower/recompute.h"
#include "shoal/error.h"

namespace shoal::lower {

Ownership own(const graph::Graph& divided, const Storage& storage, const Layout& layout, StageCut cut, Grid grid) {
  if (layout.pp == 1) {
    if (!grid.empty()) throw InputError("pipeline - schedule: got a grid without pp, want pp=2 or more with it");
    if (!cut.empty()) throw InputError(cat("pipeline - stages: got ", cut[0], " without pp, want pp=2 or more with it"));
    return {storage, layout};
  }
  if (cut.empty()) cut = balanced_cut(divided, layout.stages());
  if (std::ssize(cut) + 1 != layout.stages())
    throw InputError(cat("pipeline - stages: got ", cut.size(), " parameters at which stages begin, want ", layout.stages() - 1));
  if (!grid.empty()) simulate(grid, layout, num_microbatches(grid));
  const StageUses uses(divided, assign_stages(divided, cut), storage);
  return {storage, layout, std::move(cut), uses, std::move(grid)};
}

StagedGraph stage_training(const graph::Graph& divided, const Ownership& ownership) {
  const Recompute mode = ownership.layout().recompute;
  StagedGraph model{divided, {}, {}};
  if (!ownership.cut().empty() || mode != Recompute::kNone) model.stages = assign_stages(divided, ownership.cut());
  recompute(model.graph, model.stages, mode);
  if (!ownership.cut().empty()) model.costs = stage_costs(model.graph, model.stages);
  return model;
}

StagedGraph stage_evaluation(const graph::Graph& divided, const Ownership& ownership) {
  return {divided, ownership.cut().empty() ? Stages{} : assign_stages(divided, ownership.cut()), {}};
}

const Grid& Grids::of(int64_t microbatches) {
  if (!ownership_.grid().empty()) return ownership_.grid();
  const auto [entry, is_new] = grids_.try_emplace(microbatches);
  if (is_new) entry->second = schedule_pipeline(ownership_.layout(), microbatches, cost());
  return entry->second;
}

Timeline Grids::timeline(int64_t microbatches) {
  return simulate(of(microbatches), ownership_.layout(), microbatches, cost());
}

std::vector<std::vector<int>> orders_of(const Stages& stages, const Grid& grid) {
  const bool splits = splits_backward(grid);
  std::vector<std::vector<int>> orders;
  for (int device = 0; device < std::ssize(grid); ++device) {
    std::vector<int>& order = orders.emplace_back();
    for (const Turn& turn : turns_of_microbatch(grid, device, 0))
      for (const Stages::Place& place : places_of(turn, splits)) order.push_back(stages.block_of(place));
  }
  return orders;
}

}  // namespace shoal::lower
