// One update of the weights: this device's Program, run on the microbatches of a step.
#pragma once

#include <functional>
#include <optional>

#include "run/exchange.h"
#include "run/interpreter.h"
#include "session/session.h"
#include "session/weights.h"

namespace shoal::session {

/// Belongs to its trainer's thread; with evaluation.cc the only one that knows how things are run.
class TrainingStep {
 public:
  /// Collective. `first`: with tensor parallelism, what its devices show each other has room for this graph's
  /// exchanges. Session and weights outlive it.
  TrainingStep(const Session&, Weights&, const Captured& first);
  TrainingStep(const TrainingStep&) = delete;
  TrainingStep& operator=(const TrainingStep&) = delete;

  /// Collective. `batch` makes a microbatch that this device computes; `trace`, unless null, is where the step is
  /// written down. The result lacks `samples` and the total seconds. Throws run::NotFinite on every rank alike, before any weight has changed; what else it throws
  /// may be this rank's alone.
  StepResult run(Captured&, const std::function<Batch(int64_t microbatch)>& batch, run::StepTrace* trace);

  /// Of the devices that share a microbatch; null unless tp > 1.
  run::Exchanger* exchanger() { return exchanger_ ? &*exchanger_ : nullptr; }
  /// What runs the Programs of evaluation, too.
  run::Interpreter& interpreter() { return interpreter_; }
  /// For gradients on their way, and for what is exchanged.
  int64_t window_bytes() const {
    return interpreter_.window_bytes() + (exchanger_ ? exchanger_->window_bytes() : 0);
  }

 private:
  const Session& session_;
  run::Interpreter interpreter_;
  std::optional<run::Exchanger> exchanger_;
};

}  // namespace shoal::session
