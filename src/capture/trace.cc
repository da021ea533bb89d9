#include "capture/trace.h"

#include <ATen/FunctionalTensorWrapper.h>
#include <ATen/core/grad_mode.h>
#include <torch/csrc/autograd/variable.h>

#include <algorithm>
#include <cstring>

#include "capture/ghost.h"
#include "capture/interception.h"

namespace shoal::capture {
namespace {

// On purpose no std::exception, which the model's code could take for its own.
struct Differs {};

bool is_ghostly(const at::Tensor& tensor) { return ghost_beneath(tensor).defined(); }

at::Tensor plain(const at::Tensor& tensor) {
  return is_wrapper(tensor) ? unwrap(tensor) : tensor;
}

bool has_same_numbers(const at::Tensor& a, const at::Tensor& b) {
  if (a.scalar_type() != b.scalar_type() || a.sizes() != b.sizes() || a.strides() != b.strides()) return false;
  if (a.numel() == 0) return true;
  const at::Tensor x = a.contiguous(), y = b.contiguous();
  return std::memcmp(x.const_data_ptr(), y.const_data_ptr(), x.nbytes()) == 0;
}

// The same memory, seen in the same way: data() and detach() make such.
bool is_same_view(const at::Tensor& a, const at::Tensor& b) {
  return a.has_storage() && b.has_storage() &&
         a.storage().unsafeGetStorageImpl() == b.storage().unsafeGetStorageImpl() &&
         a.scalar_type() == b.scalar_type() && a.sizes() == b.sizes() && a.strides() == b.strides() &&
         a.storage_offset() == b.storage_offset() && a.requires_grad() == b.requires_grad();
}

bool holds_tensors(const c10::IValue& value) {
  return value.isTensor() || value.isTensorList() || value.isOptionalTensorList();
}

// The shape of what holds tensors: how many there are, and which are absent.
bool is_like(const c10::IValue& a, const c10::IValue& b) {
  if (a.tagKind() != b.tagKind()) return false;
  if (a.isTensor()) return a.toTensor().defined() == b.toTensor().defined();
  if (a.isTensorList()) return a.toTensorList().size() == b.toTensorList().size();
  const auto x = a.toOptionalTensorList(), y = b.toOptionalTensorList();
  if (x.size() != y.size()) return false;
  for (size_t i = 0; i < x.size(); ++i) {
    const std::optional<at::Tensor> p = x.get(i), q = y.get(i);
    if ((p && p->defined()) != (q && q->defined())) return false;
  }
  return true;
}

// What memory held before is nobody's number: the code writes it before it reads it, but may hand it to an operator
// first (a scatter into empty_like), where it would tell two calls apart that do the same.
void clear_if_empty(const c10::OperatorHandle& op, c10::ArrayRef<c10::IValue> results) {
  const std::string& name = op.schema().name();
  if (!name.starts_with("aten::empty") && !name.starts_with("aten::new_empty")) return;
  for (const c10::IValue& result : results)
    for_each_tensor(result, [](const at::Tensor& tensor) {
      if (is_ghostly(tensor) || !is_on_host(tensor)) return;
      const c10::Storage& storage = plain(tensor).storage();
      if (storage.nbytes() > 0) std::memset(storage.mutable_data(), 0, storage.nbytes());
    });
}

bool has_hooks(const at::Tensor& tensor) {
  return tensor.requires_grad() && !torch::autograd::impl::hooks(tensor).empty();
}

}  // namespace

void Trace::begin(const c10::OperatorHandle& op, c10::ArrayRef<c10::IValue> arguments,
                  const std::function<bool(const at::Tensor&)>& is_live) {
  Step step{op, arguments.vec(), {}, {}, at::GradMode::is_enabled()};
  step.on_host = true;
  for (const c10::IValue& argument : arguments)
    for_each_tensor(argument, [&](const at::Tensor& tensor) {
      const bool by_numbers = !is_ghostly(tensor) && is_on_host(tensor) && !is_live(tensor);
      step.tensors.push_back({tensor, by_numbers ? plain(tensor).detach().clone() : at::Tensor()});
      step.on_host &= by_numbers;
      if (has_hooks(tensor)) give_up();
    });
  // What changes sizes in place leaves the first call's values other than that call saw them.
  if (op.hasTag(at::Tag::inplace_view) && !step.on_host) give_up();
  steps_.push_back(std::move(step));
}

void Trace::end(c10::ArrayRef<c10::IValue> results) {
  Step& step = steps_.back();
  step.results = results.vec();
  clear_if_empty(step.op, results);
  for (const c10::IValue& result : results)
    for_each_tensor(result, [&](const at::Tensor& tensor) { step.on_host &= !is_ghostly(tensor); });
}

void Trace::set_result(const at::Tensor& result) {
  result_ = result;
  for (const Step& step : steps_)
    for (const c10::IValue& value : step.results)
      for_each_tensor(value, [&](const at::Tensor& tensor) {
        if (has_hooks(tensor)) give_up();
      });
}

void Trace::guard(const at::Tensor& external) {
  const auto is_known = [&](const Seen& seen) { return seen.tensor.is_same(external); };
  if (std::ranges::none_of(guards_, is_known)) guards_.push_back({external, external.detach().clone()});
}

class Replay : public Interception {
 public:
  explicit Replay(const Trace& trace) : trace_(trace) {}

  void call(const c10::OperatorHandle& op, torch::jit::Stack* stack) override {
    if (differs_ || next_ == trace_.steps_.size()) differ();
    const Trace::Step& step = trace_.steps_[next_++];
    const size_t count = op.schema().arguments().size();
    if (step.op != op || step.gradients != at::GradMode::is_enabled() || !matches(step, torch::jit::last(*stack, count)))
      differ();
    if (step.on_host) {
      op.callBoxed(stack);
      return clear_if_empty(op, torch::jit::last(*stack, op.schema().returns().size()));
    }
    torch::jit::drop(*stack, count);
    stack->insert(stack->end(), step.results.begin(), step.results.end());
  }

  bool is_complete() const { return !differs_ && next_ == trace_.steps_.size(); }

 private:
  [[noreturn]] void differ() {
    differs_ = true;
    throw Differs();
  }

  static bool matches(const Trace::Step& step, c10::ArrayRef<c10::IValue> arguments) {
    auto seen = step.tensors.begin();
    for (size_t i = 0; i < arguments.size(); ++i) {
      const c10::IValue &want = step.arguments[i], &got = arguments[i];
      if (!holds_tensors(want)) {
        if (holds_tensors(got) || want.tagKind() != got.tagKind() || want != got) return false;
        continue;
      }
      if (!is_like(want, got)) return false;
      bool same = true;
      for_each_tensor(got, [&](const at::Tensor& tensor) { same &= is_same(*seen++, tensor); });
      if (!same) return false;
    }
    return true;
  }

  static bool is_same(const Trace::Seen& seen, const at::Tensor& tensor) {
    if (seen.numbers.defined())
      return !is_ghostly(tensor) && is_on_host(tensor) && has_same_numbers(seen.numbers, plain(tensor));
    return tensor.is_same(seen.tensor) || is_same_view(tensor, seen.tensor);
  }

  const Trace& trace_;
  size_t next_ = 0;
  bool differs_ = false;
};

bool Trace::is_repeated_by(const std::function<at::Tensor(const Batch&)>& code, bool gradients) const {
  const auto holds = [](const Seen& seen) { return has_same_numbers(seen.numbers, seen.tensor.detach()); };
  if (!is_usable_ || default_dtype_ != at::get_default_dtype() || !std::ranges::all_of(guards_, holds)) return false;
  Replay replay(*this);
  const at::AutoGradMode mode(gradients);
  const Interception::Scope scope;
  const AutogradOnThisThread one_thread;
  try {
    const at::Tensor result = code(batch_);
    return replay.is_complete() && (result.is_same(result_) || (result.defined() && is_same_view(result, result_)));
  } catch (const Differs&) {
    return false;
  } catch (const std::exception&) {  // what it really does, a capture will tell
    return false;
  }
}

}  // namespace shoal::capture
