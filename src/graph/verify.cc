#include <ATen/core/dispatch/Dispatcher.h>

#include <set>

#include "base/text.h"
#include "graph/graph.h"
#include "graph/operator.h"
#include "shoal/error.h"

namespace shoal::graph {

void verify(const Graph& graph, const std::string& when) {
  std::vector<bool> defined(graph.values.size(), false);
  const auto fail = [&](const std::string& where, const std::string& rule) {
    throw JobError(cat("graph ", when, " - ", where, ": ", rule, "; this is a defect of the pass before it"));
  };
  const auto define = [&](const std::string& where, ValueId id) {
    if (id < 0 || static_cast<size_t>(id) >= defined.size())
      fail(where, cat("%", id, " is not a value of the graph"));
    if (defined[static_cast<size_t>(id)]) fail(where, cat("%", id, " is defined twice"));
    defined[static_cast<size_t>(id)] = true;
  };
  const auto use = [&](const std::string& where, ValueId id) {
    if (id < 0 || static_cast<size_t>(id) >= defined.size() || !defined[static_cast<size_t>(id)])
      fail(where, cat("%", id, " is used before it is defined"));
  };

  std::map<std::pair<std::string, int>, const TensorType*> parameters;  // by name and part
  for (const Input& input : graph.inputs) {
    define(cat("input ", input.name), input.value);
    if (input.kind == InputKind::kParameter &&
        !parameters.emplace(std::pair(input.name, input.part), &graph.type(input.value)).second)
      fail(cat("input ", input.name), "two parameters have this name");
  }
  std::set<int> streams;
  for (const Node& node : graph.nodes) {
    for_each_input(node, [&](ValueId id) { use(node.op, id); });
    for (ValueId id : node.results)
      if (id != kNoValue) define(node.op, id);
    const c10::FunctionSchema& schema = operator_handle(node.op).schema();
    if (schema.arguments().size() != node.arguments.size())
      fail(node.op, cat("got ", node.arguments.size(), " arguments, want ", schema.arguments().size()));
    if (schema.is_mutable()) fail(node.op, "a node must not change its input");
    if (node.random >= 0 && !streams.insert(node.random).second)
      fail(node.op, cat("random stream ", node.random, " is used twice"));
  }
  for (ValueId id : graph.results) use("result", id);
  for (ValueId id : graph.buffer_update.observed) use("buffer update", id);
  for (const Gradient& gradient : graph.gradients) {
    const auto parameter = parameters.find({gradient.parameter, gradient.part});
    if (parameter == parameters.end())
      fail(cat("gradient ", gradient.parameter), "no parameter has this name");
    if (gradient.contributions.empty()) fail(cat("gradient ", gradient.parameter), "it has no contribution");
    for (ValueId id : gradient.contributions) {
      use(cat("gradient ", gradient.parameter), id);
      if (graph.type(id).shape != parameter->second->shape)
        fail(cat("gradient ", gradient.parameter),
             cat("got shape [", join(graph.type(id).shape, ","), "], want [",
                 join(parameter->second->shape, ","), "]"));
    }
  }
}

}  // namespace shoal::graph
