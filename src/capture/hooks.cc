#include "capture/hooks.h"

#include <torch/csrc/autograd/cpp_hook.h>
#include <torch/csrc/autograd/function.h>
#include <torch/csrc/autograd/variable.h>

#include <algorithm>

#include "base/text.h"
#include "shoal/error.h"

namespace shoal::capture {
namespace {

namespace autograd = torch::autograd;

class LentHook : public autograd::FunctionPreHook {
 public:
  explicit LentHook(autograd::FunctionPreHook& hook) : hook_(hook) {}
  autograd::variable_list operator()(const autograd::variable_list& gradients) override {
    return hook_(gradients);
  }

 private:
  autograd::FunctionPreHook& hook_;
};

}  // namespace

void lend_hooks(const std::string& name, const at::Tensor& original, const at::Tensor& twin) {
  if (!original.requires_grad()) return;
  const auto accumulator = autograd::impl::try_get_grad_accumulator(original);
  if (autograd::impl::post_acc_grad_hooks(original) != nullptr ||
      (accumulator && (!accumulator->pre_hooks().empty() || !accumulator->post_hooks().empty())))
    throw InputError(cat("capture - parameter ", name,
                         ": it has hooks on the accumulation of its gradient, which no gradient reaches here; "
                         "use register_hook on the parameter"));
  for (const auto& hook : autograd::impl::hooks(original))
    autograd::impl::add_hook(twin, std::make_unique<LentHook>(*hook));
}

size_t count_hooks(const at::Tensor& parameter) {
  const auto* meta = autograd::impl::get_autograd_meta(parameter);
  if (meta == nullptr || meta->hooks_.empty()) return 0;
  if (!meta->cpp_hooks_list_) return meta->hooks_.size();
  // All of C++ lie in one list, where a removed one leaves a gap.
  const auto& list = *meta->cpp_hooks_list_;
  return meta->hooks_.size() - 1 +
         static_cast<size_t>(std::count_if(list.begin(), list.end(), [](const auto& f) { return f != nullptr; }));
}

}  // namespace shoal::capture
