#include "ops/divide.h"

#include <algorithm>
#include <set>

#include "base/text.h"
#include "graph/operator.h"
#include "ops/bind.h"
#include "ops/rules.h"

namespace shoal::ops {
namespace {

using Kind = Placement::Kind;
using Shape = std::vector<int64_t>;

// Of a tensor seen as one row-major index: the cut that takes every index p in the middle of [prefix, parts,
// rest].
std::optional<graph::Cut> cut_of_prefix(const Shape& shape, int64_t prefix, int64_t parts) {
  int64_t before = 1;
  for (size_t dim = 0; dim < shape.size(); before *= shape[dim], ++dim) {
    if (shape[dim] == 1 || prefix % before != 0) continue;
    const graph::Cut cut{static_cast<int>(dim), prefix / before};
    if (can_cut(shape, cut, parts)) return cut;
  }
  return std::nullopt;
}

int64_t prefix_of_cut(const Shape& shape, graph::Cut cut) {
  int64_t before = cut.outer;
  for (int dim = 0; dim < cut.dim; ++dim) before *= shape[static_cast<size_t>(dim)];
  return before;
}

// A view divided at a prefix.
std::optional<Division> divide_flat(const Binding& binding, int64_t prefix, int64_t parts) {
  Division division;
  division.factor = cat("(", prefix, ")");
  for (const auto* tensors : {&binding.inputs, &binding.outputs})
    for (const BoundTensor& tensor : *tensors) {
      const auto cut = tensor.shape ? cut_of_prefix(*tensor.shape, prefix, parts) : std::nullopt;
      if (!cut) return std::nullopt;
      // Without sizes to say, an operator would take a local size of 1 for one that was there before.
      if (binding.sizes.empty() && part_shape(*tensor.shape, *cut, parts)[static_cast<size_t>(cut->dim)] == 1)
        return std::nullopt;
      (tensors == &binding.inputs ? division.inputs : division.outputs).push_back({Kind::kShard, *cut});
    }
  return division;
}

// The factors that a division cuts.
std::vector<int> cut_factors(const Binding& binding, const Division& division) {
  std::vector<int> found;
  const auto visit = [&](const std::vector<BoundTensor>& tensors, const std::vector<Placement>& placements) {
    for (size_t i = 0; i < tensors.size() && i < placements.size(); ++i) {
      const auto dim = static_cast<size_t>(placements[i].cut.dim);
      if (placements[i].kind == Kind::kShard && dim < tensors[i].dims.size())
        found.push_back(tensors[i].dims[dim].factor);
    }
  };
  visit(binding.inputs, division.inputs);
  visit(binding.outputs, division.outputs);
  return found;
}

// The input that is added once to the result; -1: none.
int added_input(const Binding& binding) {
  for (size_t i = 0; i < binding.inputs.size(); ++i)
    if (binding.inputs[i].term->added) return static_cast<int>(i);
  return -1;
}

void leave_out_bias(const Rule& rule, const Binding& binding, graph::Node& node) {
  const Form& form = *binding.form;
  if (!form.without_op.empty()) {
    std::vector<graph::Argument> arguments;
    for (int position : form.without) arguments.push_back(node.arguments[static_cast<size_t>(position)]);
    node.op = form.without_op;
    node.arguments = std::move(arguments);
    return;
  }
  const int term = binding.inputs[static_cast<size_t>(added_input(binding))].term_index;
  node.arguments[static_cast<size_t>(rule.tensor_arguments[static_cast<size_t>(term)])] = graph::None{};
}

}  // namespace

std::string print(const Placement& placement) {
  switch (placement.kind) {
    case Kind::kReplicate:
      return "R";
    case Kind::kShard:
      return placement.cut.outer == 1 ? cat("S", placement.cut.dim)
                                      : cat("S", placement.cut.dim, "/", placement.cut.outer);
    case Kind::kPartialSum:
      return "P(sum)";
    case Kind::kPartialMax:
      return "P(max)";
    case Kind::kPartialMin:
      return "P(min)";
    case Kind::kPartialLse:
      return "P(lse)";
  }
  return "";
}

bool can_cut(const Shape& shape, graph::Cut cut, int64_t parts) {
  return cut.dim >= 0 && cut.dim < static_cast<int>(shape.size()) && cut.outer >= 1 && parts >= 1 &&
         shape[static_cast<size_t>(cut.dim)] > 0 &&
         shape[static_cast<size_t>(cut.dim)] % (cut.outer * parts) == 0;
}

Shape part_shape(const Shape& shape, graph::Cut cut, int64_t parts) {
  Shape local = shape;
  local[static_cast<size_t>(cut.dim)] /= parts;
  return local;
}

std::optional<Division> divide(const Rule& rule, const graph::Graph& graph, const graph::Node& node,
                               Port port, graph::Cut cut, int64_t parts) {
  const Binding binding = bind(rule, graph, node);
  if (!binding.form) return std::nullopt;
  const auto& tensors = port.output ? binding.outputs : binding.inputs;
  if (port.index < 0 || port.index >= static_cast<int>(tensors.size())) return std::nullopt;
  const BoundTensor& tensor = tensors[static_cast<size_t>(port.index)];
  if (!tensor.shape || !can_cut(*tensor.shape, cut, parts)) return std::nullopt;
  if (binding.flat) return divide_flat(binding, prefix_of_cut(*tensor.shape, cut), parts);
  if (cut.dim >= static_cast<int>(tensor.dims.size())) return std::nullopt;
  const BoundDim& dim = tensor.dims[static_cast<size_t>(cut.dim)];
  if (dim.factor < 0 || !dim.carries || cut.outer % dim.times != 0) return std::nullopt;
  return divide_factor(binding, dim.factor, cut.outer / dim.times, parts);
}

std::vector<Division> divisions(const Rule& rule, const graph::Graph& graph, const graph::Node& node,
                                int64_t parts) {
  std::vector<Division> found;
  const Binding binding = bind(rule, graph, node);
  if (!binding.form) return found;
  const auto add = [&](std::optional<Division> division) {
    if (division && std::find(found.begin(), found.end(), *division) == found.end())
      found.push_back(std::move(*division));
  };
  if (binding.flat) {
    for (const auto* tensors : {&binding.inputs, &binding.outputs})
      for (const BoundTensor& tensor : *tensors)
        for (int dim = 0; tensor.shape && dim < static_cast<int>(tensor.shape->size()); ++dim)
          if ((*tensor.shape)[static_cast<size_t>(dim)] > 1 && can_cut(*tensor.shape, {dim, 1}, parts))
            add(divide_flat(binding, prefix_of_cut(*tensor.shape, {dim, 1}), parts));
    return found;
  }
  for (size_t factor = 0; factor < binding.factors.size(); ++factor)
    if (binding.factors[factor].size > 1) add(divide_factor(binding, static_cast<int>(factor), 1, parts));
  return found;
}

graph::Node local_node(const Rule& rule, const graph::Graph& graph, const graph::Node& node,
                       const Division& division, int64_t parts, int64_t part) {
  const Binding binding = bind(rule, graph, node);
  graph::Node local = node;
  if (!binding.form) return local;
  const auto cut = cut_factors(binding, division);
  const auto is_cut = [&](int factor) { return std::find(cut.begin(), cut.end(), factor) != cut.end(); };
  for (const BoundSize& size : binding.sizes) {
    Shape values = size.values;
    if (size.size->term.flat) {
      if (division.outputs.empty() || division.outputs[0].kind != Kind::kShard) continue;
      values = part_shape(*binding.outputs[0].shape, division.outputs[0].cut, parts);
    }
    for (size_t i = 0; i < size.dims.size(); ++i)
      if (size.dims[i].carries && is_cut(size.dims[i].factor)) values[i] /= parts;
    graph::Argument& argument = local.arguments[static_cast<size_t>(size.size->argument)];
    if (std::holds_alternative<int64_t>(argument))
      argument = values[0];
    else if (std::holds_alternative<Shape>(argument))
      argument = values;
  }
  for (const Start& start : binding.form->starts)
    for (size_t factor = 0; factor < binding.factors.size(); ++factor)
      if (binding.factors[factor].symbol == start.symbol && is_cut(static_cast<int>(factor)))
        std::get<int64_t>(local.arguments[static_cast<size_t>(start.argument)]) +=
            part * (binding.factors[factor].size / parts);
  if (division.added_after >= 0) leave_out_bias(rule, binding, local);
  return local;
}

std::optional<Division> pass_sums(const Rule& rule, const graph::Graph& graph, const graph::Node& node,
                                  const std::vector<bool>& addends) {
  const Binding binding = bind(rule, graph, node);
  if (!binding.form) return std::nullopt;
  std::set<int> terms, others;  // that have addends, and that have anything else
  for (size_t i = 0; i < binding.inputs.size(); ++i)
    (addends[i] ? terms : others).insert(binding.inputs[i].term_index);
  const auto is_stated = [&](const std::vector<int>& group) {
    std::set<int> there;  // an input of the group may be absent
    for (int term : group)
      if (terms.contains(term) || others.contains(term)) there.insert(term);
    return there == terms;
  };
  const bool mixed = std::any_of(terms.begin(), terms.end(), [&](int term) { return others.contains(term); });
  const auto& groups = binding.form->linear;
  if (terms.empty() || mixed || !std::any_of(groups.begin(), groups.end(), is_stated)) return std::nullopt;
  Division division;
  division.factor = "+";
  for (const bool addend : addends)
    division.inputs.push_back({addend ? Kind::kPartialSum : Kind::kReplicate, {}});
  for (const BoundTensor& output : binding.outputs)
    division.outputs.push_back(
        {output.shape && !output.term->absent ? Kind::kPartialSum : Kind::kReplicate, {}});
  return division;
}

std::optional<Bias> bias_of(const Rule& rule, const graph::Graph& graph, const graph::Node& node) {
  const Binding binding = bind(rule, graph, node);
  const int input = binding.form ? added_input(binding) : -1;
  if (input < 0) return std::nullopt;
  const BoundTensor& bias = binding.inputs[static_cast<size_t>(input)];
  const BoundTensor& result = binding.outputs.at(0);
  Bias found{input, node, Shape(result.dims.size(), 1)};
  for (size_t i = 0; i < result.dims.size(); ++i)
    for (size_t j = 0; j < bias.dims.size(); ++j)
      if (bias.dims[j].carries && bias.dims[j].factor == result.dims[i].factor)
        found.shape[i] = (*bias.shape)[j];
  leave_out_bias(rule, binding, found.without);
  return found;
}

Cost cost(const Binding& binding, const graph::Graph& graph, const graph::Node& node) {
  Cost cost;
  if (binding.form && binding.form->view) return cost;
  double largest = 0;
  const auto count = [&](graph::ValueId id) {
    if (id == graph::kNoValue) return;
    const auto numel = static_cast<double>(graph.type(id).numel());
    largest = std::max(largest, numel);
    cost.bytes += numel * static_cast<double>(c10::elementSize(graph.type(id).dtype));
  };
  graph::for_each_input(node, count);
  for (graph::ValueId id : node.results) count(id);
  cost.flops = binding.form ? largest : cost.bytes;
  if (!binding.form || binding.form->flops == 0) return cost;
  cost.flops = binding.form->flops;
  for (Symbol symbol : binding.form->flops_symbols)
    for (const Factor& factor : binding.factors)
      if (factor.symbol == symbol) cost.flops *= static_cast<double>(factor.size);
  return cost;
}

namespace {

// Empty where the operator has no rule.
Binding bind(const graph::Graph& graph, const graph::Node& node) {
  const Rule* const rule = rule_of(node.op);
  return rule ? bind(*rule, graph, node) : Binding{};
}

}  // namespace

RuleFor rule_for(const graph::Graph& graph, const graph::Node& node) {
  const Rule* const rule = rule_of(node.op);
  return !rule                           ? RuleFor::kNone
         : bind(*rule, graph, node).form ? RuleFor::kNode
                                         : RuleFor::kOtherArguments;
}

std::optional<Division> divide(const graph::Graph& graph, const graph::Node& node, Port port, graph::Cut cut,
                               int64_t parts) {
  const Rule* const rule = rule_of(node.op);
  return rule ? divide(*rule, graph, node, port, cut, parts) : std::nullopt;
}

std::vector<Division> divisions(const graph::Graph& graph, const graph::Node& node, int64_t parts) {
  const Rule* const rule = rule_of(node.op);
  return rule ? divisions(*rule, graph, node, parts) : std::vector<Division>{};
}

std::optional<Division> pass_sums(const graph::Graph& graph, const graph::Node& node,
                                  const std::vector<bool>& addends) {
  const Rule* const rule = rule_of(node.op);
  return rule ? pass_sums(*rule, graph, node, addends) : std::nullopt;
}

graph::Node local_node(const graph::Graph& graph, const graph::Node& node, const Division& division,
                       int64_t parts, int64_t part) {
  const Rule* const rule = rule_of(node.op);
  return rule ? local_node(*rule, graph, node, division, parts, part) : node;
}

std::optional<Bias> bias_of(const graph::Graph& graph, const graph::Node& node) {
  const Rule* const rule = rule_of(node.op);
  return rule ? bias_of(*rule, graph, node) : std::nullopt;
}

bool costs_nothing(const graph::Graph& graph, const graph::Node& node) {
  const Binding binding = bind(graph, node);
  return binding.form && binding.form->view;
}

bool goes_by_memory(const graph::Graph& graph, const graph::Node& node) {
  const Binding binding = bind(graph, node);
  return binding.form && binding.form->memory;
}

bool regroups(const std::string& op) {
  const Rule* const rule = rule_of(op);
  if (!rule) return false;
  const Form& form = rule->forms[0];
  return form.view && !form.inputs.empty() && form.inputs[0].flat && !form.sizes.empty();
}

Cost cost(const graph::Graph& graph, const graph::Node& node) { return cost(bind(graph, node), graph, node); }

}  // namespace shoal::ops
