#include "capture/draws.h"

#include <ATen/core/LegacyTypeDispatch.h>
#include <ATen/ops/native_dropout.h>
#include <torch/library.h>

#include "capture/random_operators.h"

namespace shoal::capture {
namespace {

// Keys that LibTorch leaves to others: one below autograd, one above.
constexpr auto kBelow = c10::DispatchKey::Fake, kAbove = c10::DispatchKey::TESTING_ONLY_GenericMode;

thread_local const Draws* current = nullptr;  // boxed kernels have no other way to know whom they serve

c10::DispatchKeySet after(c10::DispatchKeySet keys, c10::DispatchKey key) {
  return keys & c10::DispatchKeySet(c10::DispatchKeySet::FULL_AFTER, key);
}

void draw_boxed(const c10::OperatorHandle& op, c10::DispatchKeySet keys, torch::jit::Stack* stack) {
  const c10::impl::ExcludeDispatchKeyGuard once(kBelow);
  if (current != nullptr && is_random(op)) {
    const at::AutoDispatchBelowADInplaceOrView below_autograd;
    if (current->function()(op, *stack)) return;
  }
  op.redispatchBoxed(after(keys, kBelow), stack);
}

// Where a device has a kernel for it, as capture's has, LibTorch's dropout is native_dropout.
void dropout_boxed(const c10::OperatorHandle& op, c10::DispatchKeySet keys, torch::jit::Stack* stack) {
  const auto arguments = torch::jit::last(*stack, 3);
  const at::Tensor input = arguments[0].toTensor();
  const double p = arguments[1].toDouble();
  if (!arguments[2].toBool() || p <= 0 || p >= 1 || input.numel() == 0)
    return op.redispatchBoxed(after(keys, kAbove), stack);
  torch::jit::drop(*stack, 3);
  stack->push_back(std::get<0>(at::native_dropout(input, p, true)));
}

}  // namespace

TORCH_LIBRARY_IMPL(_, Fake, library) {
  library.fallback(torch::CppFunction::makeFromBoxedFunction<&draw_boxed>());
}
TORCH_LIBRARY_IMPL(_, TESTING_ONLY_GenericMode, library) {
  library.fallback(torch::CppFunction::makeFallthrough());
}
TORCH_LIBRARY_IMPL(aten, TESTING_ONLY_GenericMode, library) {
  library.impl("dropout", torch::CppFunction::makeFromBoxedFunction<&dropout_boxed>());
}

Draws::Draws(Function function) : function_(std::move(function)), operators_(kBelow), dropout_(kAbove) {
  current = this;
}

Draws::~Draws() { current = nullptr; }

}  // namespace shoal::capture
