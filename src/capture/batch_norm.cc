#include "capture/batch_norm.h"

#include <ATen/FunctionalTensorWrapper.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/ops/_native_batch_norm_legit.h>
#include <ATen/ops/add.h>
#include <ATen/ops/mul.h>
#include <ATen/ops/zeros.h>

#include "capture/ghost.h"

namespace shoal::capture {
namespace {

using at::Tensor;
using torch::jit::Stack;

bool is_functional(const c10::IValue& value) {
  return value.isTensor() && value.toTensor().defined() &&
         at::functionalization::impl::isFunctionalTensor(value.toTensor());
}

// The wrapper's value becomes `value`, as after an in-place operator.
void assign(const Tensor& wrapper, const Tensor& value) {
  at::functionalization::impl::replace_(wrapper, value);
  at::functionalization::impl::commit_update(wrapper);
  at::functionalization::impl::sync(wrapper);
}

// momentum * observed + (1 - momentum) * old, rounded where the CPU's kernel rounds for dense inputs.
Tensor updated_mean(const Tensor& old, const Tensor& observed, double momentum) {
  return at::add(at::mul(old, 1 - momentum), at::mul(observed, momentum));
}
Tensor updated_variance(const Tensor& old, const Tensor& observed, double momentum) {
  const double rounded = old.scalar_type() == at::kDouble ? momentum : static_cast<float>(momentum);
  const Tensor kept = at::mul(old, 1 - momentum).to(at::kDouble);
  return at::add(kept, at::mul(observed.to(at::kDouble), rounded)).to(old.scalar_type());
}

// (input, weight, bias, running_mean, running_var, training, momentum, eps) -> output, mean, 1/std
void batch_norm(const c10::OperatorHandle& op, c10::DispatchKeySet, Stack* stack) {
  const size_t count = op.schema().arguments().size();
  const Stack arguments(stack->end() - static_cast<std::ptrdiff_t>(count), stack->end());
  torch::jit::drop(*stack, count);
  const c10::impl::ExcludeDispatchKeyGuard below(c10::DispatchKey::Functionalize);
  Stack plain;
  bool functional = false;
  for (const c10::IValue& argument : arguments) {
    functional |= is_functional(argument);
    plain.push_back(is_functional(argument) ? unwrap(argument.toTensor()) : argument);
  }
  const auto optional = [&](size_t i) {
    return plain[i].isNone() ? std::nullopt : std::optional(plain[i].toTensor());
  };
  const bool updates = arguments[5].toBool() && is_functional(arguments[3]) && is_functional(arguments[4]);
  if (updates) {
    const Tensor mean = plain[3].toTensor(), var = plain[4].toTensor();
    // From nothing, with momentum 1, the kernel's new running statistics are the batch's mean and unbiased
    // variance.
    const auto [output, save_mean, save_invstd, batch_mean, batch_var] =
        at::_native_batch_norm_legit_functional(
            plain[0].toTensor(), optional(1), optional(2), at::zeros(mean.sizes(), mean.options()),
            at::zeros(var.sizes(), var.options()), true, 1.0, plain[7].toDouble());
    const double momentum = plain[6].toDouble();
    assign(arguments[3].toTensor(), updated_mean(mean, batch_mean, momentum));
    assign(arguments[4].toTensor(), updated_variance(var, batch_var, momentum));
    plain = {output, save_mean, save_invstd};
  } else {
    op.callBoxed(plain);
  }
  for (const c10::IValue& result : plain)
    stack->push_back(functional ? c10::IValue(wrap(result.toTensor())) : result);
}

}  // namespace

void register_batch_norm() {
  static const auto registration = c10::Dispatcher::singleton().registerImpl(
      {"aten::native_batch_norm", ""}, c10::DispatchKey::Functionalize,
      c10::KernelFunction::makeFromBoxedFunction<&batch_norm>(), std::nullopt, nullptr, "shoal capture");
}

void drop_unread_statistics(const std::string& op, Stack& stack) {
  constexpr size_t kArguments = 10, kRunningMean = 3, kRunningVar = 4, kTrain = 7;
  if (op != "aten::native_batch_norm_backward") return;
  const size_t first = stack.size() - kArguments;
  if (stack[first + kTrain].toBool())
    stack[first + kRunningMean] = stack[first + kRunningVar] = c10::IValue();
}

}  // namespace shoal::capture
