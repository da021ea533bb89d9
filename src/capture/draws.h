// Random operators of eager code, given to somebody else than LibTorch's generator.
//
// Only what capture would see as one is given away: operators below autograd, as they reach the CPU. Dropout,
// which the CPU makes of other operators than capture sees, becomes capture's.
#pragma once

#include <ATen/core/dispatch/Dispatcher.h>
#include <c10/core/impl/LocalDispatchKeySet.h>

#include <functional>

namespace shoal::capture {

/// While it lives, on its thread. One at a time on a thread.
class Draws {
 public:
  /// Called for each random operator in order, with its arguments on the stack; when it leaves its results
  /// there instead it returns true, else LibTorch draws.
  using Function = std::function<bool(const c10::OperatorHandle&, torch::jit::Stack&)>;
  explicit Draws(Function);
  ~Draws();
  Draws(const Draws&) = delete;
  Draws& operator=(const Draws&) = delete;

  const Function& function() const { return function_; }

 private:
  Function function_;
  c10::impl::IncludeDispatchKeyGuard operators_, dropout_;
};

}  // namespace shoal::capture
