// What one call of a model's code asked of LibTorch, operator by operator, so that a later call can be held
// against it: a model whose code reads something of the host that changed (a member, a counter, another tensor)
// asks something else.
//
// The later call runs on the values of the first one, without anything being computed or recorded. It sees what
// the first one saw, so that it costs the model's own code and a comparison for each operator.
#pragma once

#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/core/ivalue.h>
#include <c10/core/DefaultDtype.h>

#include <functional>
#include <string>
#include <vector>

#include "shoal/model.h"

namespace shoal::capture {

/// Filled by a Recording; then it does not change. Belongs to the thread of its model.
class Trace {
 public:
  /// Of an operator that the model's code calls, with its arguments as the code gave them. `is_live`: which
  /// tensors of the host are read anew for each run, so that which they are counts, not their numbers.
  void begin(const c10::OperatorHandle&, c10::ArrayRef<c10::IValue> arguments,
             const std::function<bool(const at::Tensor&)>& is_live);
  /// The same operator's results.
  void end(c10::ArrayRef<c10::IValue> results);

  /// The later call cannot be told from the values alone: autograd calls code of the user (hooks).
  void give_up() { is_usable_ = false; }
  bool is_usable() const { return is_usable_; }

  /// The call read these numbers on the host: a later one does, too, and finds the same or differs.
  void guard(const at::Tensor& external);

  void set_batch(Batch batch) { batch_ = std::move(batch); }
  /// When the code has returned.
  void set_result(const at::Tensor& result);

  /// Calls `code` on the batch of the first call: whether it does the same. False where that cannot be told.
  /// With gradients as in the first call. What `code` itself changes on the host is changed.
  bool is_repeated_by(const std::function<at::Tensor(const Batch&)>& code, bool gradients) const;

 private:
  friend class Replay;
  // A tensor among the arguments. One that the call made on the host is compared by its numbers.
  struct Seen {
    at::Tensor tensor, numbers;
  };
  struct Step {
    const c10::OperatorHandle op;
    std::vector<c10::IValue> arguments, results;
    std::vector<Seen> tensors;  // of the arguments, in order
    bool gradients;             // whether autograd was on
    bool on_host = false;       // has to do with tensors of the host alone: done for real
  };
  std::vector<Step> steps_;
  std::vector<Seen> guards_;
  Batch batch_;
  at::Tensor result_;
  caffe2::TypeMeta default_dtype_ = at::get_default_dtype();  // of factories that name none
  bool is_usable_ = true;
};

}  // namespace shoal::capture
