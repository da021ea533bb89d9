#include "lower/fetch_weights.h"

#include <map>

#include "lower/gather_plan.h"

namespace shoal::lower {
namespace {

using graph::Node;
using graph::ValueId;

ValueId copy_of(graph::Graph& graph, ValueId id) { return graph.add_value(graph.type(id)); }

Node fetch_node(int64_t unit, ValueId value) {
  Node node;
  node.op = "shoal::fetch";
  node.arguments = {unit};
  node.results = {value};
  return node;
}
Node fetch_node(const Node& reader, int64_t unit, ValueId value) {
  Node node = fetch_node(unit, value);
  node.phase = reader.phase;
  node.scope = reader.scope;
  node.call = reader.call;
  return node;
}

// A parameter that leaves the graph as it is, as a gradient for example, is fetched at the beginning.
void fetch_outputs(graph::Graph& graph, const std::map<size_t, int64_t>& units) {
  for (const auto& [input, unit] : units) {
    const ValueId parameter = graph.inputs[input].value;
    ValueId fetched = graph::kNoValue;
    const auto replace = [&](ValueId& id) {
      if (id != parameter) return;
      if (fetched == graph::kNoValue) {
        fetched = copy_of(graph, parameter);
        graph.nodes.push_back(fetch_node(unit, fetched));
      }
      id = fetched;
    };
    for (ValueId& id : graph.results) replace(id);
    for (graph::Gradient& gradient : graph.gradients)
      for (ValueId& id : gradient.contributions) replace(id);
    for (ValueId& id : graph.buffer_update.observed) replace(id);
  }
}

}  // namespace

bool is_fetch(const Node& node) { return node.op == "shoal::fetch"; }

LocalGraph fetch_weights(LocalGraph local, const Ownership& ownership, int rank) {
  graph::Graph& graph = local.graph;
  const Storage& storage = ownership.storage();
  std::map<size_t, int64_t> units;  // by input that is fetched
  for (size_t i = 0; i < graph.inputs.size(); ++i) {
    const graph::Input& input = graph.inputs[i];
    if (input.kind != graph::InputKind::kParameter) continue;
    const auto unit = storage.find(input.name, input.part);
    if (unit && !ownership.keeps(rank, *unit, {0, storage.units[*unit].numel}))
      units[i] = static_cast<int64_t>(*unit);
  }
  if (units.empty()) return local;

  const GatherPlan plan = plan_gathers(graph);
  std::vector<bool> moves(graph.nodes.size(), false);
  std::vector<std::vector<const ParameterUse*>> begins(graph.nodes.size()), ends(graph.nodes.size());
  for (const auto& [input, unit] : units)
    for (const size_t view : plan.views[input]) moves[view] = true;
  for (const ParameterUse& use : plan.uses) {
    if (!units.contains(use.input)) continue;
    begins[use.first].push_back(&use);
    ends[use.last].push_back(&use);
  }

  const std::vector<Node> before = std::move(graph.nodes);
  graph.nodes.clear();
  fetch_outputs(graph, units);
  std::map<ValueId, ValueId> now;  // what stands for a parameter, or a view of it
  std::vector<int64_t> begins_at;  // by node before: what comes with it
  for (size_t n = 0; n < before.size(); ++n) {
    begins_at.push_back(n == 0 ? 0 : std::ssize(graph.nodes));
    if (moves[n]) continue;
    for (const ParameterUse* use : begins[n]) {
      const ValueId parameter = graph.inputs[use->input].value;
      now[parameter] = copy_of(graph, parameter);
      graph.nodes.push_back(fetch_node(before[n], units.at(use->input), now[parameter]));
      for (const size_t view : plan.views[use->input]) {
        Node node = before[view];
        node.phase = before[n].phase;
        graph::for_each_input(node, [&](ValueId& id) { id = now.at(id); });
        for (ValueId& id : node.results)
          if (id != graph::kNoValue) id = now[id] = copy_of(graph, id);
        graph.nodes.push_back(std::move(node));
      }
    }
    Node node = before[n];
    graph::for_each_input(node, [&](ValueId& id) {
      if (const auto found = now.find(id); found != now.end()) id = found->second;
    });
    graph.nodes.push_back(std::move(node));
    for (const ParameterUse* use : ends[n]) {
      now.erase(graph.inputs[use->input].value);
      for (const size_t view : plan.views[use->input])
        for (const ValueId id : before[view].results) now.erase(id);
    }
  }
  begins_at.push_back(std::ssize(graph.nodes));
  for (StageBlock& block : local.blocks)
    block.nodes = {begins_at[static_cast<size_t>(block.nodes.begin)], begins_at[static_cast<size_t>(block.nodes.end)]};
  local.origins.clear();
  return local;
}

}  // namespace shoal::lower
