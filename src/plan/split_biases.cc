#include "plan/passes.h"

namespace shoal::plan {
namespace {

using graph::Graph;
using graph::kNoValue;
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
  return made;
}

bool is_one(const graph::Argument& argument) {
  if (const auto* integer = std::get_if<int64_t>(&argument)) return *integer == 1;
  if (const auto* number = std::get_if<double>(&argument)) return *number == 1;
  return false;
}

}  // namespace

Graph split_biases(Graph graph) {
  std::vector<Node> nodes;
  for (Node& node : graph.nodes) {
    const auto product_type = [&] { return graph.type(node.results[0]); };
    const auto bias = node.arguments.size() > 2 ? std::get_if<Tensor>(&node.arguments[2]) : nullptr;
    if (node.op == "aten::addmm" && is_one(node.arguments[3]) && is_one(node.arguments[4])) {
      // (bias, a, b, beta, alpha)
      const ValueId product = graph.add_value(product_type());
      nodes.push_back(like(node, "aten::mm", {node.arguments[1], node.arguments[2]}, product));
      nodes.push_back(
          like(node, "aten::add.Tensor", {Tensor{product}, node.arguments[0], int64_t{1}}, node.results[0]));
    } else if ((node.op == "aten::convolution" || node.op == "aten::convolution_overrideable") &&
               bias != nullptr && bias->id != kNoValue) {
      // (x [n,c,...], weight, bias [o], ...)
      graph::TensorType seen = graph.type(bias->id);
      std::vector<int64_t> shape(graph.type(node.results[0]).shape.size(), 1);
      shape[1] = seen.shape[0];
      const ValueId product = graph.add_value(product_type());
      const ValueId column = graph.add_value(graph::contiguous_type(seen.dtype, shape));
      const ValueId result = node.results[0], id = bias->id;
      Node convolution = std::move(node);
      convolution.arguments[2] = graph::None{};
      convolution.results[0] = product;
      nodes.push_back(convolution);
      nodes.push_back(like(convolution, "aten::view", {Tensor{id}, shape}, column));
      nodes.push_back(
          like(convolution, "aten::add.Tensor", {Tensor{product}, Tensor{column}, int64_t{1}}, result));
    } else {
      nodes.push_back(std::move(node));
    }
  }
  graph.nodes = std::move(nodes);
  return graph;
}

}  // namespace shoal::plan
