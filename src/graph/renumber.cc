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

  int constants = 0, externals = 0;
  for (Input& input : graph.inputs) {
    define(input.value);
    if (input.kind == InputKind::kConstant) input.name = "c" + std::to_string(constants++);
    if (input.kind == InputKind::kExternal) input.name = "x" + std::to_string(externals++);
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
  for (auto* tensors : {&graph.constants, &graph.externals}) {
    std::map<ValueId, at::Tensor> renumbered;
    for (auto& [id, tensor] : *tensors) renumbered.emplace(number.at(id), std::move(tensor));
    *tensors = std::move(renumbered);
  }
  graph.values = std::move(values);
  return graph;
}

}  // namespace shoal::graph
