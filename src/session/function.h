// One thing that a model's code computes (loss and gradients of a microbatch, the loss of an evaluation, a prediction), as
// this device runs it: captured, divided, lowered to a Program. Once for each shape of
// batch, modes of the module, and what the code does by the state of the host.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <utility>

#include "lower/ownership.h"
#include "numerics/divided_run.h"
#include "session/captured_graphs.h"
#include "session/session.h"

namespace shoal::session {

/// Belongs to its trainer's thread.
class Function {
 public:
  enum class Of {
    kTraining,    // forward and backward, in the modes that the module's flags say
    kEvaluation,  // forward, in eval mode
  };
  using Code = std::function<at::Tensor(const Batch&)>;
  /// `code`: what is computed, the model's loss unless told. The session outlives it.
  Function(const Session& session, Of of) : Function(session, of, session.model.loss) {}
  Function(const Session& session, Of of, Code code) : session_(session), of_(of), code_(std::move(code)) {}

  /// By the module's state of now.
  Key key_of(const Shapes&) const;

  /// What the model's code makes now, before it runs: what several devices agree on.
  struct Found {
    Captured* known = nullptr;  // ran before; null: `call` and `divided` are new
    capture::Call call;
    numerics::DividedRun divided;
    std::string divided_text;    // of the divided graph, where somebody compares it; "" when nothing is divided
    std::string hash() const;  // of the undivided graph
  };
  /// Calls the model's code; where it has to be captured, `activity` says so. `cuts`: of the run's storage;
  /// null before there is one. Throws InputError for what cannot be captured, or not be divided.
  Found find(const Key&, const std::string& activity, const std::map<std::string, graph::Cut>* cuts);
  /// What is new becomes ready to run: Programs of all ranks, checked together. REQUIRES: found.known is null.
  Captured& add(const Key&, Found found, const lower::Ownership&, comm::Group& world);

  /// Seconds by operator since profile(true).
  void profile(bool on);
  std::map<std::string, double> seconds_by_operator() const;
  /// Of all that is captured, ready to run.
  const CapturedGraphs& graphs() const { return graphs_; }
  /// By shapes, as text: the hash of the graph used last.
  std::map<std::string, std::string> hashes() const;

 private:
  capture::Call call_code(const Key&) const;

  const Session& session_;
  const Of of_;
  const Code code_;
  CapturedGraphs graphs_;
  bool profiling_ = false;
};

}  // namespace shoal::session
