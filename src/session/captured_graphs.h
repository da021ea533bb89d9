// What a trainer has captured so far, ready to run; and which of it a call of the model's code would make now.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "capture/capture.h"
#include "run/execution.h"
#include "session/batch.h"
#include "session/modes.h"

namespace shoal::session {

/// What a captured graph is of.
struct Key {
  Shapes shapes;
  Modes modes;
  std::vector<bool> trainable;  // by parameter: requires_grad
  std::vector<size_t> hooks;    // by parameter: how many
  bool operator==(const Key&) const = default;
};

/// A captured graph, and what this device runs of it.
struct Captured {
  /// `storage`: of the run; `world`: all devices.
  Captured(Key, const capture::Call&, lower::LocalGraph, lower::Program, const lower::Storage& storage,
           comm::Group& world, run::LiveTensors&, kernels::Device&);

  /// Whether it is the graph of this call, with the same tensors from outside of the model.
  bool is_of(const capture::Call&) const;

  const Key key;
  const std::string text, hash;                        // of the undivided graph
  const std::map<graph::ValueId, at::Tensor> sources;  // its externals
  std::shared_ptr<capture::Trace> trace;
  run::Execution execution;
};

/// One for each shape of microbatch, modes of the module, and what its code does by the state of the host; of
/// those that differ by the last alone the kMostOfAKey that were used last, since each has memory of its own for
/// values. Belongs to its trainer's thread.
class CapturedGraphs {
 public:
  /// The one that the model's code would make now; null when it is not among them.
  Captured* find(const Key& key, const std::function<at::Tensor(const Batch&)>& code, bool gradients);
  /// The one of this call, whose trace it takes; null when it is not among them.
  Captured* find(const Key& key, const capture::Call& call);
  /// The text of the last used one of this key; "" when there is none.
  std::string text_of(const Key& key) const;

  Captured& add(std::unique_ptr<Captured> captured);
  static constexpr int kMostOfAKey = 2;

  auto begin() const { return all_.begin(); }
  auto end() const { return all_.end(); }

 private:
  template <class Matches>
  Captured* use(const Matches& matches);

  std::vector<std::unique_ptr<Captured>> all_;  // the last used one is the last
};

}  // namespace shoal::session
