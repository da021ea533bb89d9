// Sees each operator of a model's code before autograd does, and decides what its arguments are.
#pragma once

#include <ATen/core/ivalue.h>
#include <ATen/core/stack.h>
#include <c10/core/impl/LocalDispatchKeySet.h>

#include <mutex>
#include <string>
#include <unordered_map>

#include "capture/shared_memory.h"

namespace shoal::capture {

/// Rewrites the arguments of a model's operators before autograd sees them, while one of its Scopes is open
/// on this thread. One exists at a time per process: the constructor waits.
class Interception {
 public:
  Interception();
  virtual ~Interception();
  Interception(const Interception&) = delete;
  Interception& operator=(const Interception&) = delete;

  /// In operators of the model, `original` (a parameter or buffer, wherever it lives) is replaced by `twin`,
  /// and what shares its memory by a view of it. `name`: in sentences.
  void substitute(const std::string& name, const at::Tensor& original, const at::Tensor& twin,
                  bool is_own = true);

  /// The model computes in bf16: the inputs of losses are cast to fp32 (docs/numerics.md, "bf16").
  void set_bf16(bool on) { bf16_ = on; }

  /// Where the model's own code runs: twins replace parameters, factories obey.
  class Scope {
   private:
    c10::impl::IncludeDispatchKeyGuard deferred_{c10::DispatchKey::DeferredInit};
  };

  virtual void call(const c10::OperatorHandle&, torch::jit::Stack*);  // for the boxed function only

  /// The operator that LibTorch refused last, with its arguments; "" when none.
  const std::string& failed() const { return failed_; }

 protected:
  struct Twin {
    std::string name;
    at::Tensor original, tensor;
    const c10::StorageImpl* storage;  // of the original, when it was substituted
    bool is_own;                      // of the module
  };

  /// What an operator gets in place of a tensor that has no twin.
  virtual at::Tensor resolve(const at::Tensor& tensor, bool is_written);
  /// The last word on the arguments, which lie on the stack from `first` on.
  virtual void settle(const c10::OperatorHandle&, torch::jit::Stack&, size_t /*first*/) {}
  virtual void note_results(const torch::jit::Stack&, size_t /*count*/) {}

  bool bf16_ = false;
  std::unordered_map<const c10::TensorImpl*, Twin> twins_;
  SharedMemory shared_;

 private:
  at::Tensor rewritten(const at::Tensor& tensor, bool is_written);
  void rewrite_arguments(const c10::OperatorHandle&, torch::jit::Stack&);
  std::string describe_call(const c10::OperatorHandle&, const torch::jit::Stack& arguments) const;

  std::unique_lock<std::mutex> only_one_;
  std::string failed_;
};

/// While it lives, autograd's engine works on its thread. Else it would give ghosts a thread of their own; and it
/// runs what is ready by the order in which threads made it, and two threads count apart: with create_graph, the
/// order would depend on earlier captures.
class AutogradOnThisThread {
 public:
  AutogradOnThisThread();
  ~AutogradOnThisThread();
  AutogradOnThisThread(const AutogradOnThisThread&) = delete;
  AutogradOnThisThread& operator=(const AutogradOnThisThread&) = delete;

 private:
  const bool multithreading_before_;
};

/// The value with every tensor in it replaced by f(tensor); undefined and absent tensors stay.
template <class F>
c10::IValue map_tensors(const c10::IValue& value, F&& f) {
  if (value.isTensor()) return value.toTensor().defined() ? c10::IValue(f(value.toTensor())) : value;
  if (value.isTensorList()) {
    c10::List<at::Tensor> list;
    for (const at::Tensor& t : value.toTensorList()) list.push_back(f(t));
    return list;
  }
  if (value.isOptionalTensorList()) {
    c10::List<std::optional<at::Tensor>> list;
    for (const std::optional<at::Tensor>& t : value.toOptionalTensorList())
      list.push_back(t && t->defined() ? std::optional(f(*t)) : std::nullopt);
    return list;
  }
  return value;
}

/// Losses that autocast computes in fp32, too.
bool is_loss(const std::string& op);

/// Calls f(tensor) for every tensor in the value.
template <class F>
void for_each_tensor(const c10::IValue& value, F&& f) {
  map_tensors(value, [&](const at::Tensor& t) {
    f(t);
    return t;
  });
}

}  // namespace shoal::capture
