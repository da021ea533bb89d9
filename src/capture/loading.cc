#include "capture/loading.h"

#include <ATen/FunctionalTensorWrapper.h>
#include <ATen/core/LegacyTypeDispatch.h>
#include <ATen/ops/empty.h>

namespace shoal::capture {

bool take_storage(Recording& recording, const c10::OperatorHandle& op, torch::jit::Stack& stack) {
  const size_t count = op.schema().arguments().size();
  if (op.schema().name() != "aten::set_" || !torch::jit::peek(stack, 1, count).isStorage()) return false;
  const auto arguments = torch::jit::last(stack, count);
  const at::Tensor self = arguments[0].toTensor();
  const c10::Storage source = arguments[1].toStorage();
  if (!source.device().is_cpu() || !at::functionalization::impl::isFunctionalTensor(self)) return false;
  const at::AutoDispatchBelowADInplaceOrView below_autograd;
  const at::AutoDispatchSkipFunctionalize real;
  at::Tensor tensor = at::empty({0}, self.options().device(at::kCPU).requires_grad(false));
  if (count == 2)
    tensor.set_(source);
  else
    tensor.set_(source, arguments[2].toInt(), arguments[3].toIntVector(), arguments[4].toIntVector());
  // On the ghosts' device: LibTorch gives a module's tensor what it read only where both are on one.
  const at::Tensor constant = recording.constant(tensor);
  at::functionalization::impl::unsafeGetFunctionalWrapper(self)->set__impl(
      at::functionalization::impl::unsafeGetFunctionalWrapper(constant));
  torch::jit::drop(stack, count);
  stack.push_back(self);
  return true;
}

}  // namespace shoal::capture
