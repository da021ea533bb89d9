// What a run keeps between steps on this device: weights and buffers, the optimizer's state, and what a built
// module shows of them. Made with the run's first graph, which says what is trained and how it is cut.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "comm/group.h"
#include "lower/ownership.h"
#include "lower/storage.h"
#include "numerics/divided_run.h"
#include "run/device_memory.h"
#include "session/captured_graphs.h"
#include "session/module_link.h"
#include "session/optimizer_state.h"
#include "session/session.h"

namespace shoal::session {

/// Throws InputError for a graph that trains nothing.
lower::Storage storage_of(const graph::Graph&);

/// Belongs to its trainer's thread. What it gives out lives as long as it does.
class Weights {
 public:
  /// Collective: lays out the memory and fills it with the first numbers, the module's own or those that the
  /// recorded constructor draws. The session outlives it. Throws InputError for a graph that trains nothing,
  /// JobError when there is no room.
  Weights(const Session&, const numerics::DividedRun& first, const Key&);
  Weights(const Weights&) = delete;
  Weights& operator=(const Weights&) = delete;

  comm::Group& group() { return group_; }  // all devices, for this trainer alone
  const lower::Storage& storage() const { return storage_; }
  const lower::Ownership& ownership() const { return ownership_; }
  run::DeviceMemory& memory() { return *memory_; }
  OptimizerState& optimizer() { return *optimizer_; }
  ModuleLink* link() { return link_ ? &*link_ : nullptr; }  // null for a described module

  /// Throws InputError when a graph, captured as `key`, trains other parameters than the first one did, or
  /// uses them otherwise.
  void check_trains_the_same(const graph::Graph&, const Key&) const;

  /// The numbers of a frozen parameter or a buffer.
  void install(const capture::NamedTensor&, const at::Tensor& value);
  /// What forward reads of a parameter, as Trainer::parameter.
  at::Tensor parameter(const std::string& name);

  /// True while a load() has failed on the way: the weights are those of no step.
  bool is_half_loaded() const { return half_loaded_; }
  void set_half_loaded(bool on) { half_loaded_ = on; }
  /// Throws InputError then. `what`: the call that needs them.
  void require_whole(const char* what) const;

  /// What the devices hold, and how the run's tensors are cut.
  std::string print() const;

 private:
  void fill();
  std::string first_name_of(const std::string& name) const;
  JobError no_room() const;

  const Session& session_;
  comm::Group group_;
  const lower::Storage storage_;
  const std::string cut_map_;         // as text; "" with one chunk
  const std::vector<bool> trainable_;  // at first
  const lower::Ownership ownership_;
  std::unique_ptr<run::DeviceMemory> memory_;
  std::optional<ModuleLink> link_;
  std::unique_ptr<OptimizerState> optimizer_;
  bool half_loaded_ = false;
};

}  // namespace shoal::session
