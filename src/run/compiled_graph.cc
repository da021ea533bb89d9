#include "run/compiled_graph.h"

#include "graph/ivalue.h"
#include "graph/operator.h"
#include "lower/fetch_weights.h"
#include "lower/local_graph.h"
#include "lower/stage_graph.h"

namespace shoal::run {

using graph::kNoValue;
using graph::ValueId;

bool communicates(const graph::Node& node) {
  return lower::is_exchange(node) || lower::is_fetch(node) || lower::is_send(node) || lower::is_receive(node);
}

CompiledGraph::CompiledGraph(const graph::Graph& graph, kernels::Device& device, const std::set<ValueId>& kept)
    : graph_(graph), device_(device) {
  std::map<ValueId, std::vector<int>> outputs;
  const auto all = graph::outputs(graph);
  for (size_t i = 0; i < all.size(); ++i) outputs[all[i]].push_back(static_cast<int>(i));
  for (size_t i = 0; i < graph.inputs.size(); ++i)
    for (const int index : outputs[graph.inputs[i].value]) input_outputs_.emplace_back(i, index);

  std::vector<size_t> last_use(graph.values.size(), 0);
  std::vector<bool> is_made(graph.values.size(), false), is_read(graph.values.size(), false);
  for (size_t i = 0; i < graph.nodes.size(); ++i) {
    const graph::Node& node = graph.nodes[i];
    for (const ValueId id : node.results) {
      if (id == kNoValue) continue;
      last_use[static_cast<size_t>(id)] = i;
      is_made[static_cast<size_t>(id)] = true;
    }
    graph::for_each_input(node, [&](ValueId id) {
      last_use[static_cast<size_t>(id)] = i;
      is_read[static_cast<size_t>(id)] = true;
    });
  }
  for (const graph::Input& input : graph.inputs)
    input_is_read_.push_back(is_read[static_cast<size_t>(input.value)] || !outputs[input.value].empty());
  const auto no_tensor = [](ValueId) { return at::Tensor(); };
  for (const graph::Node& node : graph.nodes) {
    Step step{};
    step.node = &node;
    if (!communicates(node)) {
      step.op = graph::operator_handle(node.op);
      step.kernel = device.find_kernel(node.op);
      step.draws = device.draws_by_counter(node.op);
    }
    for (size_t i = 0; i < node.arguments.size(); ++i) {
      const graph::Argument& argument = node.arguments[i];
      step.arguments.push_back(graph::to_ivalue(argument, no_tensor, device.torch_device()));
      const auto* tensor = std::get_if<graph::Tensor>(&argument);
      if ((tensor && tensor->id != kNoValue) || std::holds_alternative<graph::TensorList>(argument))
        step.tensor_arguments.push_back(i);
    }
    for (const ValueId id : node.results)
      if (id != kNoValue)
        for (const int index : outputs[id]) step.outputs.emplace_back(id, index);
    steps_.push_back(std::move(step));
  }
  for (size_t id = 0; id < last_use.size(); ++id)
    if (is_made[id] && !kept.contains(static_cast<ValueId>(id)))
      steps_[last_use[id]].last_uses.push_back(static_cast<ValueId>(id));
}

}  // namespace shoal::run
