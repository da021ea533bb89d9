#include "numerics/passes.h"
#include "ops/divide.h"

namespace shoal::numerics {
namespace {

using graph::Graph;
using graph::Node;
using graph::Tensor;
using graph::ValueId;

Node like(const Node& node, const char* op, std::vector<graph::Argument> arguments, ValueId result) {
  Node made;
  made.op = op;
  made.arguments = std::move(arguments);
  made.results = {result};
  made.phase = node.phase;
  made.scope = node.scope;
  made.call = node.call;
  return made;
}

// Broadcasting adds dims on the left by itself.
bool broadcasts(const std::vector<int64_t>& shape, const std::vector<int64_t>& over) {
  return shape.size() <= over.size() && std::equal(shape.rbegin(), shape.rend(), over.rbegin());
}

}  // namespace

Graph split_biases(Graph graph) {
  std::vector<Node> nodes;
  for (Node& node : graph.nodes) {
    std::optional<ops::Bias> bias = node.results.size() == 1 ? ops::bias_of(graph, node) : std::nullopt;
    if (!bias) {
      nodes.push_back(std::move(node));
      continue;
    }
    ValueId addend = graph::kNoValue;
    int next = 0;
    graph::for_each_input(node, [&](ValueId id) {
      if (next++ == bias->input) addend = id;
    });
    const ValueId result = node.results[0], rest = graph.add_value(graph::TensorType(graph.type(result)));
    bias->without.results = {rest};
    nodes.push_back(std::move(bias->without));
    if (const graph::TensorType seen = graph.type(addend); !broadcasts(seen.shape, bias->shape)) {
      const ValueId view = graph.add_value(graph::contiguous_type(seen.dtype, bias->shape));
      nodes.push_back(like(node, "aten::view", {Tensor{addend}, bias->shape}, view));
      addend = view;
    }
    nodes.push_back(like(node, "aten::add.Tensor", {Tensor{rest}, Tensor{addend}, int64_t{1}}, result));
  }
  graph.nodes = std::move(nodes);
  return graph;
}

}  // namespace shoal::numerics
