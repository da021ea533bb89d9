// Training as one device does it: the graph of what comes, which all devices agree on before it runs, the
// weights, which are made with the first one, and the steps.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "session/function.h"
#include "session/session.h"
#include "session/trace_file.h"
#include "session/training_step.h"
#include "session/weights.h"

namespace shoal::session {

/// Belongs to its trainer's thread.
class Training {
 public:
  /// The session outlives it. Throws InputError when the first device cannot write the trace.
  explicit Training(Session& session) : session_(session), trace_(session) {}

  /// Collective: what the module's code makes of such a microbatch, agreed on by all devices and ready to run;
  /// the first also makes the weights. `call` is made at `place`: "step" at "step 3". Throws Disagreement on
  /// every rank alike, InputError for what cannot be captured or trains otherwise than at first.
  Captured& prepare(const Batch& microbatch, const std::string& place, const std::string& call);

  /// Collective: one step. `microbatch` is asked for those that this device computes, the first one before
  /// all else; a device that computes none asks for number 0, to see its shapes.
  StepResult step(const std::function<Batch(int64_t)>& microbatch);

  /// What the user did to the module since the last call, to be told to the other devices. Throws InputError
  /// when the module has other tensors than at first.
  std::vector<comm::Fact> writes();
  /// Collective: honours what writes() found.
  void follow();

  bool has_weights() const { return weights_ != nullptr; }
  Weights& weights() { return *weights_; }  // REQUIRES: has_weights
  /// Throws InputError when there are none that `what` could work on.
  Weights& weights_for(const char* what);
  /// Null before the first prepare().
  TrainingStep* steps() { return steps_.get(); }
  Function& function() { return function_; }

 private:
  Session& session_;
  Function function_{session_, Function::Of::kTraining};
  std::unique_ptr<Weights> weights_;
  std::unique_ptr<TrainingStep> steps_;
  TraceFile trace_;
  double agreed_seconds_ = 0;  // what the last prepare() waited for the others
};

}  // namespace shoal::session
