#include "capture/interception.h"

#include <ATen/FunctionalTensorWrapper.h>
#include <ATen/autocast_mode.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <c10/core/AutogradState.h>
#include <torch/library.h>

#include <algorithm>

#include "base/text.h"
#include "capture/ghost.h"
#include "graph/graph.h"
#include "graph/operator.h"
#include "kernels/cpu/host.h"
#include "shoal/error.h"

namespace shoal::capture {
namespace {

using torch::jit::Stack;

// Boxed kernels have no other way to know whom they serve; guarded by one_interception.
std::mutex one_interception;
Interception* interception = nullptr;

void intercept_boxed(const c10::OperatorHandle& op, c10::DispatchKeySet, Stack* stack) {
  c10::impl::ExcludeDispatchKeyGuard below(c10::DispatchKey::DeferredInit);
  if (at::autocast::is_autocast_enabled(kernels::kHost))
    throw InputError(
        "capture - autocast: it is switched on in forward and would have no effect here; use "
        "Precision::kBF16 instead");
  if (interception != nullptr)
    interception->call(op, stack);
  else
    op.callBoxed(stack);
}

}  // namespace

bool is_loss(const std::string& name) {
  static constexpr const char* kLosses[] = {"aten::cross_entropy_loss",
                                            "aten::log_softmax.int",
                                            "aten::nll_loss_nd",
                                            "aten::nll_loss",
                                            "aten::nll_loss2d",
                                            "aten::mse_loss",
                                            "aten::l1_loss",
                                            "aten::smooth_l1_loss",
                                            "aten::huber_loss",
                                            "aten::kl_div",
                                            "aten::binary_cross_entropy",
                                            "aten::binary_cross_entropy_with_logits",
                                            "aten::soft_margin_loss",
                                            "aten::multi_margin_loss",
                                            "aten::cosine_embedding_loss",
                                            "aten::hinge_embedding_loss",
                                            "aten::margin_ranking_loss",
                                            "aten::poisson_nll_loss"};
  return std::any_of(std::begin(kLosses), std::end(kLosses), [&](const char* loss) { return name == loss; });
}

namespace {

// set_data made a tensor of the host into the shell of one of ours: its class is not what its keys say.
bool is_broken(const at::Tensor& tensor) {
  return at::functionalization::impl::isFunctionalTensor(tensor) && !is_wrapper(tensor);
}

[[noreturn]] void refuse_set_data(const std::string& what) {
  throw InputError(cat("capture - ", what,
                       ": forward gives it other data (set_data), which is not supported; compute a new "
                       "tensor and use that"));
}

TORCH_LIBRARY_IMPL(_, DeferredInit, library) {
  library.fallback(torch::CppFunction::makeFromBoxedFunction<&intercept_boxed>());
}

}  // namespace

AutogradOnThisThread::AutogradOnThisThread()
    : multithreading_before_(c10::AutogradState::get_tls_state().get_multithreading_enabled()) {
  c10::AutogradState::get_tls_state().set_multithreading_enabled(false);
}
AutogradOnThisThread::~AutogradOnThisThread() {
  c10::AutogradState::get_tls_state().set_multithreading_enabled(multithreading_before_);
}

Interception::Interception() : only_one_(one_interception) { interception = this; }

Interception::~Interception() { interception = nullptr; }

void Interception::substitute(const std::string& name, const at::Tensor& original, const at::Tensor& twin,
                              bool is_own) {
  twins_[original.unsafeGetTensorImpl()] = {name, original, twin, SharedMemory::storage_of(original), is_own};
  if (is_own) shared_.check_apart(name, original);
  shared_.add(name, original, twin, is_own);
}

// Numbers that are known take the place of a ghost that somebody kept.
at::Tensor Interception::resolve(const at::Tensor& tensor, bool) {
  if (const at::Tensor view = shared_.view(tensor); view.defined()) return view;
  const at::Tensor ghost = ghost_beneath(tensor);
  const at::Tensor kept = ghost.defined() ? ghost_origin(ghost)->kept(ghost_id(ghost)) : at::Tensor();
  return kept.defined() ? kept : tensor;
}

at::Tensor Interception::rewritten(const at::Tensor& tensor, bool is_written) {
  const auto twin = twins_.find(tensor.unsafeGetTensorImpl());
  if (twin == twins_.end()) {
    if (is_broken(tensor)) refuse_set_data(cat("tensor [", join(tensor.sizes(), ","), "]"));
    return resolve(tensor, is_written);
  }
  if (SharedMemory::storage_of(tensor) != twin->second.storage)
    refuse_set_data(twin->second.name);
  return twin->second.tensor;
}

void Interception::rewrite_arguments(const c10::OperatorHandle& op, Stack& stack) {
  const auto& arguments = op.schema().arguments();
  const size_t first = stack.size() - arguments.size();
  const bool widen = bf16_ && is_loss(graph::operator_text(op.operator_name()));
  for (size_t i = 0; i < arguments.size(); ++i) {
    const bool is_written = arguments[i].alias_info() != nullptr && arguments[i].alias_info()->isWrite();
    stack[first + i] = map_tensors(stack[first + i], [&](const at::Tensor& tensor) {
      const at::Tensor result = rewritten(tensor, is_written);
      return widen && result.scalar_type() == at::kBFloat16 ? result.to(at::kFloat) : result;
    });
  }
  settle(op, stack, first);
}

void Interception::call(const c10::OperatorHandle& op, Stack* stack) {
  rewrite_arguments(op, *stack);
  const Stack arguments(stack->end() - std::ssize(op.schema().arguments()), stack->end());
  try {
    op.callBoxed(stack);
  } catch (const c10::Error&) {
    failed_ = describe_call(op, arguments);
    throw;
  }
  note_results(*stack, op.schema().returns().size());
}

std::string Interception::describe_call(const c10::OperatorHandle& op, const Stack& arguments) const {
  std::vector<std::string> texts;
  for (const c10::IValue& argument : arguments)
    for_each_tensor(argument, [&](const at::Tensor& tensor) {
      const auto twin = std::find_if(twins_.begin(), twins_.end(), [&](const auto& entry) {
        return entry.second.tensor.is_same(tensor);
      });
      texts.push_back(cat(twin == twins_.end() || !twin->second.is_own ? "" : twin->second.name + " ",
                          graph::dtype_name(tensor.scalar_type()), "[", join(tensor.sizes(), ","), "]"));
    });
  return cat(graph::operator_text(op.operator_name()), "(", join(texts, ", "), ")");
}

}  // namespace shoal::capture
