// Where a step's time goes, by operator, as LibTorch's own hooks see it.
#pragma once

#include <ATen/record_function.h>

#include <chrono>
#include <map>
#include <memory>
#include <string>
#include <vector>

/// While it lives, adds up the self time of every operator that this thread calls through the dispatcher: the
/// time inside it less that of the operators that it calls. One at a time on a thread.
class OperatorTimes {
 public:
  OperatorTimes() {
    current_ = this;
    handle_ = at::addThreadLocalCallback(
        at::RecordFunctionCallback(&enter, &leave).scopes({at::RecordScope::FUNCTION}));
  }
  ~OperatorTimes() {
    at::removeCallback(handle_);
    current_ = nullptr;
  }
  OperatorTimes(const OperatorTimes&) = delete;
  OperatorTimes& operator=(const OperatorTimes&) = delete;

  /// Seconds so far by the operator's name, without its "aten::".
  const std::map<std::string, double>& seconds() const { return seconds_; }

 private:
  using Clock = std::chrono::steady_clock;
  struct Call {
    Clock::time_point start;
    double inner_seconds = 0;
  };

  static std::unique_ptr<at::ObserverContext> enter(const at::RecordFunction&) {
    current_->calls_.push_back({Clock::now()});
    return nullptr;
  }
  static void leave(const at::RecordFunction& function, at::ObserverContext*) {
    auto& calls = current_->calls_;
    const double seconds = std::chrono::duration<double>(Clock::now() - calls.back().start).count();
    std::string name = function.name();
    if (name.starts_with("aten::")) name.erase(0, 6);
    current_->seconds_[name] += seconds - calls.back().inner_seconds;
    calls.pop_back();
    if (!calls.empty()) calls.back().inner_seconds += seconds;
  }

  // The hooks are plain functions: this is how they find their object.
  static inline thread_local OperatorTimes* current_ = nullptr;
  at::CallbackHandle handle_;
  std::vector<Call> calls_;
  std::map<std::string, double> seconds_;
};
