#include "lower/gather_plan.h"

#include <algorithm>
#include <optional>

#include "graph/operator.h"

namespace shoal::lower {
GatherPlan plan_gathers(const graph::Graph& graph) {
  constexpr size_t kNone = static_cast<size_t>(-1);
  std::vector<size_t> root(graph.values.size(), kNone);  // the input that a value is, or is a view of
  for (size_t i = 0; i < graph.inputs.size(); ++i)
    if (graph.inputs[i].kind == graph::InputKind::kParameter)
      root[static_cast<size_t>(graph.inputs[i].value)] = i;
  std::vector<bool> is_output(graph.values.size());
  for (graph::ValueId id : graph::outputs(graph)) is_output[static_cast<size_t>(id)] = true;

  GatherPlan plan;
  plan.views.resize(graph.inputs.size());
  std::vector<std::optional<ParameterUse>> open[2] = {
      std::vector<std::optional<ParameterUse>>(graph.inputs.size()),
      std::vector<std::optional<ParameterUse>>(graph.inputs.size())};  // by phase
  for (size_t n = 0; n < graph.nodes.size(); ++n) {
    const graph::Node& node = graph.nodes[n];
    std::vector<size_t> read;  // an input for each tensor that the node takes, or kNone
    graph::for_each_input(node, [&](graph::ValueId id) { read.push_back(root[static_cast<size_t>(id)]); });
    const bool leaves = std::any_of(node.results.begin(), node.results.end(), [&](graph::ValueId id) {
      return id != graph::kNoValue && is_output[static_cast<size_t>(id)];
    });
    if (read.size() == 1 && read[0] != kNone && !leaves && graph::is_view(node)) {
      plan.views[read[0]].push_back(n);
      for (graph::ValueId id : node.results)
        if (id != graph::kNoValue) root[static_cast<size_t>(id)] = read[0];
      continue;
    }
    for (size_t input : read) {
      if (input == kNone) continue;
      auto& use = open[node.phase == graph::Phase::kBackward][input];
      if (!use) use = ParameterUse{input, n, n};
      use->last = n;
    }
  }
  for (size_t i = 0; i < graph.inputs.size(); ++i) {
    auto& [forward, backward] = open;
    if (forward[i] && backward[i] && backward[i]->first <= forward[i]->last) {
      forward[i]->first = std::min(forward[i]->first, backward[i]->first);
      forward[i]->last = std::max(forward[i]->last, backward[i]->last);
      backward[i].reset();
    }
    for (const auto& use : {forward[i], backward[i]})
      if (use) plan.uses.push_back(*use);
  }
  return plan;
}

}  // namespace shoal::lower
