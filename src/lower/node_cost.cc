#include "lower/node_cost.h"

#include <set>

#include "ops/divide.h"

namespace shoal::lower {
namespace {

using graph::Graph;
using graph::kNoValue;
using graph::Node;
using graph::ValueId;

double seconds_by_rule(const Graph& graph, const Node& node) {
  constexpr double kFlopsPerSecond = 100e9, kBytesPerSecond = 10e9;
  const ops::Cost cost = ops::cost(graph, node);
  return cost.flops / kFlopsPerSecond + cost.bytes / kBytesPerSecond;
}

// The node as a graph of its own, without what has nothing to do with how long it takes.
Graph alone(const Graph& graph, const Node& node) {
  Graph one;
  std::map<ValueId, ValueId> ids;
  Node copy = node;
  graph::for_each_input(copy, [&](ValueId& id) {
    const auto [found, is_new] = ids.try_emplace(id, kNoValue);
    if (is_new) {
      found->second = one.add_value(graph.type(id));
      one.inputs.push_back({graph::InputKind::kBatch, std::to_string(one.inputs.size()), found->second});
    }
    id = found->second;
  });
  for (ValueId& id : copy.results)
    if (id != kNoValue) one.results.push_back(id = one.add_value(graph.type(id)));
  copy.phase = graph::Phase::kForward;
  copy.scope.clear();
  copy.random = node.random < 0 ? -1 : 0;
  copy.part = graph::kWhole;
  copy.call = 0;
  one.nodes = {std::move(copy)};
  return one;
}

}  // namespace

std::vector<KindOfNode> kinds_of_nodes(const Graph& graph) {
  std::vector<KindOfNode> kinds;
  std::set<std::string> known;
  for (const Node& node : graph.nodes) {
    if (ops::costs_nothing(graph, node)) continue;
    Graph one = alone(graph, node);
    std::string text = graph::print(one);
    if (known.insert(text).second) kinds.push_back({std::move(text), std::move(one)});
  }
  return kinds;
}

std::vector<double> NodeCosts::of(const Graph& graph) const {
  std::vector<double> rules(graph.nodes.size(), 0), seconds = rules;
  bool all_measured = is_measured();
  for (size_t n = 0; n < graph.nodes.size(); ++n) {
    const Node& node = graph.nodes[n];
    if (ops::costs_nothing(graph, node)) continue;
    rules[n] = seconds_by_rule(graph, node);
    if (!all_measured) continue;
    const auto found = measured_.find(graph::print(alone(graph, node)));
    if (found == measured_.end())
      all_measured = false;
    else
      seconds[n] = found->second;
  }
  return all_measured ? seconds : rules;
}

}  // namespace shoal::lower
