#include <unordered_map>

#include "graph/passes.h"

namespace shoal::graph {
namespace {

// add(a, b) with alpha 1, as autograd sums the gradients of a tensor that is used several times.
bool is_plain_sum(const Graph& graph, const Node& node) {
  if (node.op != "aten::add.Tensor") return false;
  const auto* a = std::get_if<Tensor>(&node.arguments[0]);
  const auto* b = std::get_if<Tensor>(&node.arguments[1]);
  const auto* alpha = std::get_if<int64_t>(&node.arguments[2]);
  return a && b && alpha && *alpha == 1 && graph.type(a->id).shape == graph.type(b->id).shape;
}

}  // namespace

Graph split_gradient_contributions(Graph graph) {
  std::unordered_map<ValueId, const Node*> producer;
  std::unordered_map<ValueId, int> uses;
  for (const Node& node : graph.nodes) {
    for (ValueId id : node.results)
      if (id != kNoValue) producer[id] = &node;
    for_each_input(node, [&](ValueId id) { ++uses[id]; });
  }
  for (ValueId id : outputs(graph)) ++uses[id];

  for (Gradient& gradient : graph.gradients) {
    std::vector<ValueId> open(gradient.contributions.rbegin(), gradient.contributions.rend()), leaves;
    while (!open.empty()) {
      const ValueId id = open.back();
      open.pop_back();
      const auto found = producer.find(id);
      if (found != producer.end() && uses[id] == 1 && is_plain_sum(graph, *found->second)) {
        open.push_back(std::get<Tensor>(found->second->arguments[1]).id);
        open.push_back(std::get<Tensor>(found->second->arguments[0]).id);
      } else {
        leaves.push_back(id);
      }
    }
    gradient.contributions = std::move(leaves);
  }
  return graph;
}

}  // namespace shoal::graph
