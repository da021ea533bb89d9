#include <unordered_map>

#include "graph/passes.h"

namespace shoal::graph {

Graph renumber(Graph graph) {
  std::vector<TensorType> values;
  std::unordered_map<ValueId, ValueId> number;
  const auto define = [&](ValueId& id) {
    if (id == kNoValue) return;
    values.push_back(graph.type(id));
    const ValueId next = static_cast<ValueId>(values.size()) - 1;
    number[id] = next;
    id = next;
  };
  const auto use = [&](ValueId& id) {
    if (id != kNoValue) id = number.at(id);
  };

  int constants = 0;
  for (Input& input : graph.inputs) {
    define(input.value);
    if (input.kind == InputKind::kConstant) input.name = "c" + std::to_string(constants++);
  }
  int streams = 0;
  for (Node& node : graph.nodes) {
    for_each_input(node, use);
    for (ValueId& id : node.results) define(id);
    if (node.random >= 0) node.random = streams++;
  }
  for (ValueId& id : graph.results) use(id);
  for (Gradient& gradient : graph.gradients)
    for (ValueId& id : gradient.contributions) use(id);
  for (ValueId& id : graph.buffer_update.observed) use(id);
  std::map<ValueId, at::Tensor> data;
  for (auto& [id, tensor] : graph.constants) data.emplace(number.at(id), std::move(tensor));
  graph.constants = std::move(data);
  graph.values = std::move(values);
  return graph;
}

}  // namespace shoal::graph
