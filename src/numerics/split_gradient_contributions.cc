#include <set>
#include <unordered_map>

#include "numerics/passes.h"

namespace shoal::numerics {

using graph::Gradient;
using graph::Graph;
using graph::kNoValue;
using graph::Node;
using graph::Tensor;
using graph::ValueId;
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

  const auto sum = [&](ValueId id) -> const Node* {
    const auto found = producer.find(id);
    const bool is_sum = found != producer.end() && uses[id] == 1 && is_plain_sum(graph, *found->second);
    return is_sum ? found->second : nullptr;
  };
  // The operator that made an addend, and how it was transposed since.
  const auto origin = [&](ValueId id) {
    std::string path;
    for (auto found = producer.find(id); found != producer.end(); found = producer.find(id)) {
      path += found->second->op;
      if (found->second->op != "aten::t") break;
      id = std::get<Tensor>(found->second->arguments[0]).id;
    }
    return path;
  };
  // The addends of a sum, in order.
  const auto addends = [&](ValueId root) {
    std::vector<ValueId> open = {root}, leaves;
    while (!open.empty()) {
      const ValueId id = open.back();
      open.pop_back();
      if (const Node* node = sum(id)) {
        open.push_back(std::get<Tensor>(node->arguments[1]).id);
        open.push_back(std::get<Tensor>(node->arguments[0]).id);
      } else {
        leaves.push_back(id);
      }
    }
    return leaves;
  };
  // A layer that is called over and over: its addends are alike, and too many to keep one by one.
  const auto is_one_layers = [&](ValueId root) {
    const std::vector<ValueId> all = addends(root);
    std::set<std::string> origins;
    for (ValueId id : all) origins.insert(origin(id));
    return all.size() > 2 && origins.size() == 1;
  };

  for (Gradient& gradient : graph.gradients) {
    std::vector<ValueId> open(gradient.contributions.rbegin(), gradient.contributions.rend()), split;
    while (!open.empty()) {
      const ValueId id = open.back();
      open.pop_back();
      const Node* node = sum(id);
      if (node == nullptr || is_one_layers(id)) {
        split.push_back(id);
      } else {
        open.push_back(std::get<Tensor>(node->arguments[1]).id);
        open.push_back(std::get<Tensor>(node->arguments[0]).id);
      }
    }
    gradient.contributions = std::move(split);
  }
  return graph;
}

}  // namespace shoal::numerics
