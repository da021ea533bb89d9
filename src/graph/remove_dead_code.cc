#include <algorithm>

#include "graph/passes.h"

namespace shoal::graph {

Graph remove_dead_code(Graph graph) {
  std::vector<bool> live(graph.values.size(), false);
  for (ValueId id : outputs(graph)) live[static_cast<size_t>(id)] = true;
  std::vector<Node> kept;
  for (auto node = graph.nodes.rbegin(); node != graph.nodes.rend(); ++node) {
    const bool used = std::any_of(node->results.begin(), node->results.end(), [&](ValueId id) {
      return id != kNoValue && live[static_cast<size_t>(id)];
    });
    if (!used) continue;
    for_each_input(*node, [&](ValueId id) { live[static_cast<size_t>(id)] = true; });
    kept.push_back(std::move(*node));
  }
  std::reverse(kept.begin(), kept.end());
  graph.nodes = std::move(kept);
  std::erase_if(graph.inputs, [&](const Input& input) {
    const bool droppable = input.kind != InputKind::kParameter && input.kind != InputKind::kBatch;
    return droppable && !live[static_cast<size_t>(input.value)];
  });
  for (auto* tensors : {&graph.constants, &graph.externals})
    std::erase_if(*tensors, [&](const auto& entry) { return !live[static_cast<size_t>(entry.first)]; });
  return graph;
}

}  // namespace shoal::graph
