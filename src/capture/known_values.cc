#include "capture/known_values.h"

#include <ATen/core/grad_mode.h>
#include <c10/core/impl/LocalDispatchKeySet.h>

#include <algorithm>

#include "graph/ivalue.h"
#include "graph/operator.h"
#include "kernels/cpu/host.h"

namespace shoal::capture {

using graph::kNoValue;
using graph::ValueId;

void KnownValues::add_input(const graph::Input& input) {
  known_.resize(graph_.values.size(), Known::kNo);
  made_by_.resize(graph_.values.size(), -1);
  known_[static_cast<size_t>(input.value)] = input.kind == graph::InputKind::kConstant   ? Known::kAlways
                                             : input.kind == graph::InputKind::kExternal ? Known::kNow
                                                                                         : Known::kNo;
}

void KnownValues::add_node(size_t index) {
  known_.resize(graph_.values.size(), Known::kNo);
  made_by_.resize(graph_.values.size(), -1);
  const graph::Node& node = graph_.nodes[index];
  Known known = node.random < 0 ? Known::kAlways : Known::kNo;
  graph::for_each_input(node, [&](ValueId id) { known = std::min(known, how_known(id)); });
  for (ValueId id : node.results) {
    if (id == kNoValue) continue;
    known_[static_cast<size_t>(id)] = known;
    made_by_[static_cast<size_t>(id)] = static_cast<int64_t>(index);
  }
}

KnownValues::Known KnownValues::how_known(ValueId id) const {
  return static_cast<size_t>(id) < known_.size() ? known_[static_cast<size_t>(id)] : Known::kNo;
}

const graph::Node* KnownValues::maker(ValueId id) const {
  const int64_t node = made_by_.at(static_cast<size_t>(id));
  return node < 0 ? nullptr : &graph_.nodes[static_cast<size_t>(node)];
}

// The nodes that a value is made by, in the graph's order; and the inputs of the graph that these read.
std::set<int64_t> KnownValues::nodes_before(ValueId wanted, std::vector<ValueId>* inputs) const {
  std::set<int64_t> nodes;
  std::set<ValueId> seen;
  std::vector<ValueId> open = {wanted};
  while (!open.empty()) {
    const ValueId id = open.back();
    open.pop_back();
    if (!seen.insert(id).second) continue;
    const int64_t node = made_by_.at(static_cast<size_t>(id));
    if (node < 0 && inputs) inputs->push_back(id);
    if (node < 0 || !nodes.insert(node).second) continue;
    graph::for_each_input(graph_.nodes[static_cast<size_t>(node)], [&](ValueId input) { open.push_back(input); });
  }
  return nodes;
}

std::vector<at::Tensor> KnownValues::externals_of(ValueId id) const {
  std::vector<ValueId> inputs;
  nodes_before(id, &inputs);
  std::vector<at::Tensor> externals;
  for (ValueId input : inputs)
    if (const auto found = graph_.externals.find(input); found != graph_.externals.end())
      externals.push_back(found->second);
  return externals;
}

at::Tensor KnownValues::numbers(ValueId wanted) {
  // Plain numbers: nothing of this is the model's.
  const c10::impl::ExcludeDispatchKeyGuard plain(
      c10::autograd_dispatch_keyset_with_ADInplaceOrView |
      c10::DispatchKeySet({c10::DispatchKey::DeferredInit, c10::DispatchKey::Functionalize}));
  const at::AutoGradMode without_gradients(false);
  const auto value_of = [&](ValueId id) -> at::Tensor {
    for (const auto* inputs : {&graph_.constants, &graph_.externals})
      if (const auto input = inputs->find(id); input != inputs->end()) return input->second.detach();
    return numbers_.at(id);
  };
  for (int64_t index : nodes_before(wanted, nullptr)) {
    const graph::Node& node = graph_.nodes[static_cast<size_t>(index)];
    const auto has = [&](ValueId id) { return id == kNoValue || numbers_.contains(id); };
    if (std::ranges::all_of(node.results, has)) continue;
    torch::jit::Stack stack;
    for (const graph::Argument& argument : node.arguments)
      stack.push_back(graph::to_ivalue(argument, value_of, kernels::kHost));
    graph::operator_handle(node.op).callBoxed(stack);
    graph::for_each_result(node, stack, [&](ValueId id, const at::Tensor& tensor) { numbers_[id] = tensor; });
  }
  return value_of(wanted);
}

bool KnownValues::are_alike(ValueId a, ValueId b) const {
  Pairs proved;
  return are_alike(a, b, proved);
}

bool KnownValues::are_alike(ValueId a, ValueId b, Pairs& proved) const {
  if (a == b || proved.contains({a, b})) return true;
  if (a == kNoValue || b == kNoValue || graph_.type(a) != graph_.type(b)) return false;
  const graph::Node *x = maker(a), *y = maker(b);
  if (x == nullptr || y == nullptr || x == y || x->op != y->op || x->random >= 0 || y->random >= 0)
    return false;
  const auto place = [](const graph::Node* node, ValueId id) {
    return std::find(node->results.begin(), node->results.end(), id) - node->results.begin();
  };
  if (place(x, a) != place(y, b) || x->arguments.size() != y->arguments.size()) return false;
  for (size_t i = 0; i < x->arguments.size(); ++i) {
    const graph::Argument &p = x->arguments[i], &q = y->arguments[i];
    if (p == q) continue;
    const auto *one = std::get_if<graph::Tensor>(&p), *other = std::get_if<graph::Tensor>(&q);
    if (one == nullptr || other == nullptr || !are_alike(one->id, other->id, proved)) return false;
  }
  proved.insert({a, b});
  return true;
}

}  // namespace shoal::capture
