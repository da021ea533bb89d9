#include <unordered_map>

#include "numerics/passes.h"

namespace shoal::numerics {

using graph::Argument;
using graph::Graph;
using graph::Node;
using graph::None;
using graph::Tensor;
using graph::TensorType;
using graph::ValueId;

// embedding_dense_backward(g: bf16, ...) : bf16   becomes   embedding_dense_backward(_to_copy(g, f32), ...) :
// f32, and so does a sum of such gradients (an embedding that is read at every step of a sequence). Where the
// gradient leaves the graph it stays f32 (gradients are summed in f32 anyway); other readers get it rounded
// back.
Graph widen_embedding_gradients(Graph graph) {
  const auto to_copy = [&](ValueId from, c10::ScalarType dtype, const Node& like) {
    TensorType type = graph.type(from);
    type.dtype = dtype;
    Node node;
    node.op = "aten::_to_copy";
    node.arguments = {Tensor{from}, static_cast<int64_t>(dtype), None{}, None{}, None{}, false, None{}};
    node.results = {graph.add_value(std::move(type))};
    node.phase = like.phase;
    node.call = like.call;
    return node;
  };
  std::vector<Node> nodes;
  std::unordered_map<ValueId, ValueId>
      narrowed;  // the f32 gradient -> its bf16 copy, for readers inside the graph
  const auto is_widened = [&](const Argument& argument) {
    const auto* tensor = std::get_if<Tensor>(&argument);
    return tensor && narrowed.contains(tensor->id);
  };
  for (Node node : graph.nodes) {
    const bool sums =
        node.op == "aten::add.Tensor" && is_widened(node.arguments[0]) && is_widened(node.arguments[1]);
    if (sums) {
      const ValueId sum = node.results[0];
      graph.values[static_cast<size_t>(sum)].dtype = c10::ScalarType::Float;
      nodes.push_back(node);
      nodes.push_back(to_copy(sum, c10::ScalarType::BFloat16, node));
      narrowed[sum] = nodes.back().results[0];
      continue;
    }
    for_each_input(node, [&](ValueId& id) {
      if (const auto found = narrowed.find(id); found != narrowed.end()) id = found->second;
    });
    const bool widens = node.op == "aten::embedding_dense_backward" &&
                        graph.type(std::get<Tensor>(node.arguments[0]).id).dtype == c10::ScalarType::BFloat16;
    if (!widens) {
      nodes.push_back(std::move(node));
      continue;
    }
    nodes.push_back(to_copy(std::get<Tensor>(node.arguments[0]).id, c10::ScalarType::Float, node));
    std::get<Tensor>(node.arguments[0]).id = nodes.back().results[0];
    const ValueId gradient = node.results[0];
    graph.values[static_cast<size_t>(gradient)].dtype = c10::ScalarType::Float;
    nodes.push_back(node);
    nodes.push_back(
        to_copy(gradient, c10::ScalarType::BFloat16, node));  // dead, and dropped, when nobody reads it
    narrowed[gradient] = nodes.back().results[0];
  }
  graph.nodes = std::move(nodes);
  return graph;
}

}  // namespace shoal::numerics
