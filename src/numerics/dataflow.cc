#include "numerics/dataflow.h"

#include <algorithm>
#include <string>

namespace shoal::numerics {

using graph::kNoValue;
using graph::Node;
using graph::ValueId;

Dataflow::Dataflow(const graph::Graph& from, int64_t num_parts)
    : graph(from), parts(num_parts), uses(from.values.size()) {
  find_uses();
  find_weights();
  find_sums();
}

double Dataflow::bytes(ValueId id) const {
  return static_cast<double>(graph.type(id).numel()) *
         static_cast<double>(c10::elementSize(graph.type(id).dtype));
}

ValueId Dataflow::value_at(size_t node, ops::Port port) const {
  const auto index = static_cast<size_t>(port.index);
  return port.output ? graph.nodes[node].results[index] : inputs[node][index];
}

std::optional<ops::Division> Dataflow::divide(size_t node, ops::Port port, graph::Cut cut) const {
  std::optional<ops::Division> division = ops::divide(graph, graph.nodes[node], port, cut, parts);
  // A bias that must be added after the sum is a node of its own by now.
  return division && division->added_after >= 0 ? std::nullopt : division;
}

ops::Division Dataflow::whole(size_t node) const {
  ops::Division division;
  division.inputs.resize(inputs[node].size());
  division.outputs.resize(graph.nodes[node].results.size());
  return division;
}

std::optional<ops::Division> Dataflow::passes_sums(size_t node) const {
  const auto& results = graph.nodes[node].results;
  if (results.size() != 1 || results[0] == kNoValue || (inputs[node].size() < 2 && !costs_nothing[node]))
    return std::nullopt;
  const auto dtype = graph.type(results[0]).dtype;
  if (std::any_of(inputs[node].begin(), inputs[node].end(),
                  [&](ValueId id) { return graph.type(id).dtype != dtype; }))
    return std::nullopt;
  return ops::pass_sums(graph, graph.nodes[node], std::vector<bool>(inputs[node].size(), true));
}

void Dataflow::find_uses() {
  for (size_t n = 0; n < graph.nodes.size(); ++n) {
    inputs.emplace_back();
    graph::for_each_input(graph.nodes[n], [&](ValueId id) { inputs[n].push_back(id); });
    for (size_t i = 0; i < inputs[n].size(); ++i)
      uses[at(inputs[n][i])].push_back({n, {false, static_cast<int>(i)}});
    const auto& results = graph.nodes[n].results;
    for (size_t i = 0; i < results.size(); ++i)
      if (results[i] != kNoValue) uses[at(results[i])].push_back({n, {true, static_cast<int>(i)}});
    costs.push_back(ops::cost(graph, graph.nodes[n]));
    costs_nothing.push_back(ops::costs_nothing(graph, graph.nodes[n]));
  }
  for (size_t id = 0; id < graph.values.size(); ++id) roots.push_back(static_cast<ValueId>(id));
  for (size_t n = 0; n < graph.nodes.size(); ++n)
    if (inputs[n].size() == 1 && graph.nodes[n].results.size() == 1 && costs_nothing[n])
      roots[at(graph.nodes[n].results[0])] = roots[at(inputs[n][0])];
}

void Dataflow::find_weights() {
  is_weight.assign(graph.values.size(), false);
  std::map<std::string, ValueId> by_name;
  for (const graph::Input& input : graph.inputs) {
    if (input.kind != graph::InputKind::kParameter) continue;
    is_weight[at(input.value)] = true;
    parameters.push_back(input.value);
    by_name[input.name] = input.value;
  }
  for (size_t n = 0; n < graph.nodes.size(); ++n) {
    if (inputs[n].empty() ||
        !std::all_of(inputs[n].begin(), inputs[n].end(), [&](ValueId id) { return is_weight[at(id)]; }))
      continue;
    for (ValueId id : graph.nodes[n].results)
      if (id != kNoValue) is_weight[at(id)] = true;
  }
  for (const graph::Gradient& gradient : graph.gradients)
    for (ValueId id : gradient.contributions) {
      twins[by_name.at(gradient.parameter)].push_back(id);
      twins[id].push_back(by_name.at(gradient.parameter));
    }
}

void Dataflow::find_sums() {
  std::vector<bool> is_output(graph.values.size(), false);
  for (ValueId id : graph::outputs(graph)) is_output[at(id)] = true;
  for (size_t id = 0; id < graph.values.size(); ++id) sums.push_back(static_cast<ValueId>(id));
  for (size_t id = graph.values.size(); id-- > 0;) {
    std::vector<size_t> readers;
    for (const Use& use : uses[id])
      if (!use.port.output) readers.push_back(use.node);
    if (is_output[id] || readers.size() != 1 || !passes_sums(readers[0])) continue;
    read_once.insert(static_cast<ValueId>(id));
    sums[id] = sums[at(graph.nodes[readers[0]].results[0])];
  }
}

}  // namespace shoal::numerics
