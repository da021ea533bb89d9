#include <unordered_map>

#include "graph/passes.h"

namespace shoal::graph {
namespace {

std::string module_of(const std::string& parameter) {
  const size_t dot = parameter.rfind('.');
  return dot == std::string::npos ? "" : parameter.substr(0, dot);
}

}  // namespace

// C++ modules have no hooks, so the scope is inferred: a node serves the module of the parameter it reads;
// else, in forward, what the latest of its inputs serves.
Graph infer_scopes(Graph graph) {
  std::unordered_map<ValueId, std::string> scope;
  for (const Input& input : graph.inputs)
    if (input.kind == InputKind::kParameter || input.kind == InputKind::kBuffer)
      scope[input.value] = module_of(input.name);
  std::vector<bool> is_parameter(graph.values.size(), false);
  for (const Input& input : graph.inputs)
    if (input.kind == InputKind::kParameter) is_parameter[static_cast<size_t>(input.value)] = true;

  for (Node& node : graph.nodes) {
    std::string parameters, others;
    ValueId latest = kNoValue;
    for_each_input(node, [&](ValueId id) {
      const auto found = scope.find(id);
      if (found == scope.end() || found->second.empty()) return;
      if (is_parameter[static_cast<size_t>(id)])
        parameters = found->second;
      else if (id > latest)
        latest = id, others = found->second;
    });
    node.scope = parameters.empty() ? others : parameters;
    for (ValueId id : node.results) {
      if (id == kNoValue) continue;
      scope[id] = node.scope;
      // A view of a parameter still stands for it (linear reads weight.t()).
      if (!parameters.empty() && node.results.size() == 1 && node.arguments.size() <= 3 &&
          graph.type(id).numel() > 0 &&
          (node.op == "aten::t" || node.op == "aten::view" || node.op == "aten::transpose.int"))
        is_parameter[static_cast<size_t>(id)] = true;
    }
  }
  return graph;
}

}  // namespace shoal::graph
