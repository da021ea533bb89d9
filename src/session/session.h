// What a Trainer's run is: the model, the settings, and what this device is in the layout. All but the hash of
// the graph is known before anything is captured.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "capture/capture.h"
#include "lower/gradient_schedule.h"
#include "mesh/role.h"
#include "session/calls.h"
#include "shoal/trainer.h"

namespace shoal::session {

// --- Before there is a run: each throws InputError for what cannot be used ---
void check_usable(const TrainingModel&, const TrainerOptions&);
void check_is_described(const TrainingModel&, const capture::NamedTensors&);
/// The options' layout, or where they name none that of so many devices. `place` begins a sentence.
Layout layout_of(const TrainerOptions&, int64_t devices, const std::string& place);
inline capture::Form form_of(const TrainerOptions& options) {
  return options.tensor_chunks > 1 ? capture::Form::kDivisible : capture::Form::kWhole;
}

/// Belongs to the World's thread. The World outlives it.
struct Session {
  /// Sets the process's number of compute threads and its reproducible mode. Throws InputError for a model or
  /// settings that cannot be used.
  Session(World&, TrainingModel, TrainerOptions);
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  /// Threads and reproducible mode are the process's, and anybody may have set them since: sets the threads
  /// back. Throws InputError when the kind of device is another one than at first.
  void hold_settings() const;

  /// The run has its graph now: `definition` is written. `divided_hash`: of the divided graph; "" when nothing
  /// is divided.
  void define(const std::string& graph_hash, const std::string& divided_hash);

  bool has_peers() const { return world.size() > 1; }

  World& world;
  const TrainingModel model;
  const TrainerOptions options;
  std::string kind_of_device;
  Layout layout;
  mesh::Role role;                    // of this device
  lower::GradientSchedule schedule;   // of this device
  std::vector<int64_t> microbatches;  // that this device computes, in order; none for a server
  capture::NamedTensors tensors;

  nlohmann::json definition;                        // of the run; null before the first capture
  nlohmann::json notes = nlohmann::json::object();  // of the user, kept with every checkpoint
  int64_t steps = 0, samples = 0;                   // done
  const Calls calls{world, steps};
};

}  // namespace shoal::session
