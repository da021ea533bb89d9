// What a model's code asks of the numbers of tensors while it is captured: answered where they are known,
// refused where they are not.
#include "capture/host_reads.h"

#include <ATen/ExpandUtils.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/equal.h>

#include "base/text.h"
#include "capture/ghost.h"
#include "capture/recorder.h"
#include "graph/operator.h"
#include "kernels/cpu/host.h"
#include "shoal/error.h"

namespace shoal::capture {

using torch::jit::Stack;

void refuse_data_dependent(const std::string& name) {
  static constexpr std::pair<const char*, const char*> kInstead[] = {
      {"aten::_local_scalar_dense",
       "it reads a number (item(), a condition on a tensor, printing): keep it a tensor, for example "
       "torch::where instead of if"},
      {"aten::equal",
       "it compares numbers that are not there yet: keep the comparison a tensor, for example (a == b).all()"},
      {"aten::nonzero", "its result's size depends on the data: use a mask (torch::where, masked_fill)"},
      {"aten::masked_select", "its result's size depends on the data: use torch::where or masked_fill"},
      {"aten::index.Tensor",
       "indexed by a mask, its result's size depends on the data: use torch::where or masked_fill"},
      {"aten::repeat_interleave.Tensor",
       "its result's size depends on the data: give it the output_size, or repeat by a number"},
  };
  for (const auto& [op, why] : kInstead)
    if (name == op) throw InputError(cat("capture - operator ", name, ": ", why));
  throw InputError(cat("capture - operator ", name, ": its result's size depends on the data"));
}

namespace {

bool is_mask(const at::Tensor& tensor) {
  return tensor.scalar_type() == at::kBool || tensor.scalar_type() == at::kByte;
}

}  // namespace

at::Tensor Recording::read(const at::Tensor& tensor) {
  const graph::ValueId id = value_of(tensor);
  if (!known_values_.is_known_now(id)) return {};
  for (const at::Tensor& external : known_values_.externals_of(id)) trace_->guard(external);
  return known_values_.numbers(id);
}

bool Recording::answer_equal(const at::Tensor& a, const at::Tensor& b) {
  const graph::ValueId x = value_of(a), y = value_of(b);
  if (known_values_.is_known_now(x) && known_values_.is_known_now(y)) return at::equal(read(a), read(b));
  if (known_values_.are_alike(x, y)) return true;
  if (a.sizes() != b.sizes() || (unlike_queries_ && a.dim() == 3)) return false;
  refuse_data_dependent("aten::equal");
  return false;
}

// Operators that ask for numbers, or whose result's size depends on them.
bool Recording::answer_on_host(const c10::OperatorHandle& op, const std::string& name, Stack& stack) {
  const size_t count = op.schema().arguments().size();
  const bool reads = name == "aten::equal" || op.hasTag(at::Tag::data_dependent_output) ||
                     op.hasTag(at::Tag::dynamic_output_shape);
  const bool indexes = name.find("index") != std::string::npos;
  if (!reads && !indexes) return false;
  const size_t first = stack.size() - count;
  if (name == "aten::equal") {
    const bool answer = answer_equal(stack[first].toTensor(), stack[first + 1].toTensor());
    torch::jit::drop(stack, count);
    stack.emplace_back(answer);
    return true;
  }
  const auto is_known = [&](const at::Tensor& tensor) { return known_values_.is_known_now(value_of(tensor)); };
  const auto numbers = [&](const at::Tensor& tensor) { return read(tensor); };
  // A mask that is known is as good as the positions where it is true.
  bool unknown_mask = false;
  for (size_t i = first; indexes && i < stack.size(); ++i) {
    if (!stack[i].isOptionalTensorList()) continue;
    c10::List<std::optional<at::Tensor>> list;
    for (const std::optional<at::Tensor>& index : stack[i].toOptionalTensorList()) {
      const bool mask = index && index->defined() && is_mask(*index);
      if (!mask || !is_known(*index)) {
        unknown_mask |= mask;
        list.push_back(index);
        continue;
      }
      for (const at::Tensor& positions : numbers(*index).nonzero().unbind(1))
        list.push_back(ghost_of_constant(positions.contiguous()));
    }
    stack[i] = std::move(list);
  }
  if (!reads) return false;
  if (name == "aten::index.Tensor") {
    if (unknown_mask) refuse_data_dependent(name);
    return false;
  }
  bool all_known = true;
  for (size_t i = first; i < stack.size(); ++i)
    for_each_tensor(stack[i], [&](const at::Tensor& tensor) { all_known = all_known && is_known(tensor); });
  if (!all_known) {
    const bool by_shape_rule = !op.hasTag(at::Tag::data_dependent_output);
    if (by_shape_rule) return false;  // some are told their size, others are refused where it is inferred
    refuse_data_dependent(name);
  }
  const Stack arguments(stack.begin() + static_cast<std::ptrdiff_t>(first), stack.end());
  torch::jit::drop(stack, count);
  Stack real;
  const c10::IValue host = c10::Device(kernels::kHost);
  for (const c10::IValue& argument : arguments)
    real.push_back(argument.isDevice() ? host : map_tensors(argument, numbers));
  op.callBoxed(real);
  for (const c10::IValue& result : real)
    stack.push_back(map_tensors(result, [&](const at::Tensor& tensor) { return ghost_of_constant(tensor); }));
  return true;
}

// masked_select of a mask that is known: so is how many it selects.
bool Recording::infer_from_known_mask(const std::string& name, c10::ArrayRef<c10::IValue> arguments,
                                      Stack& metas) {
  if (name != "aten::masked_select") return false;
  const at::Tensor values = arguments[0].toTensor(), mask = arguments[1].toTensor();
  const at::Tensor numbers = read(mask);
  if (!numbers.defined()) return false;
  const auto shape = at::infer_size(values.sizes(), mask.sizes());
  const int64_t count = numbers.expand(shape).sum().item<int64_t>();
  metas = {at::empty({count}, values.options().device(at::kMeta).requires_grad(false))};
  return true;
}

void Recording::leave() {
  constants_.clear();
  constant_owners_.clear();
  kept_.clear();
  twins_.clear();
  shared_.clear();
  hosts_.leave();
  // Computed when somebody asks: the graph as it was recorded lives as long as a ghost of it.
  struct Known {
    explicit Known(const graph::Graph& from, const KnownValues& known) : graph(from), values(known, graph) {}
    const graph::Graph graph;
    KnownValues values;
  };
  origin_->set_numbers([known = std::make_shared<Known>(graph_, known_values_)](graph::ValueId id) {
    return known->values.is_known(id) ? known->values.numbers(id) : at::Tensor();
  });
}

}  // namespace shoal::capture
