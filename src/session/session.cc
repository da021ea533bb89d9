#include "session/session.h"

#include <ATen/Parallel.h>

#include "base/text.h"
#include "kernels/device.h"
#include "mesh/layout.h"
#include "session/run_definition.h"
#include "shoal/error.h"

namespace shoal::session {

void check_usable(const TrainingModel& model, const TrainerOptions& options) {
  if (!model.module) throw InputError("trainer - model: got an empty module holder");
  if (options.microbatches < 1)
    throw InputError(cat("trainer - microbatches: got ", options.microbatches, ", want 1 or more"));
  if (options.threads < 1)
    throw InputError(cat("trainer - threads: got ", options.threads, ", want 1 or more"));
  if (options.clip_norm < 0)
    throw InputError(cat("trainer - clip_norm: got ", options.clip_norm, ", want 0 (off) or more"));
  if (options.trace.skip < 0)
    throw InputError(cat("trainer - trace.skip: got ", options.trace.skip, " steps, want 0 or more"));
  if (options.trace.count < 1)
    throw InputError(cat("trainer - trace.count: got ", options.trace.count, " steps, want 1 or more; name no file for no trace"));
  if (options.tensor_chunks < 1)
    throw InputError(cat("trainer - tensor_chunks: got ", options.tensor_chunks, ", want 1 or more"));
}

// The recorded constructor draws one number after the other: a tensor that was not there then has none.
void check_is_described(const TrainingModel& model, const capture::NamedTensors& tensors) {
  if (!model.initialisation) return;
  const size_t drawn = model.initialisation->graph.results.size();
  const size_t count = tensors.parameters.size() + tensors.buffers.size();
  if (drawn != count)
    throw InputError(cat("trainer - model: got ", count, " parameters and buffers, want the ", drawn,
                         " that describe() saw; register them in the constructor"));
}

Layout layout_of(const TrainerOptions& options, int64_t devices, const std::string& place) {
  const mesh::Limits limits{devices, options.microbatches, options.tensor_chunks};
  const Layout layout = options.layout ? *options.layout : mesh::default_layout(limits, place);
  mesh::check_layout(layout, limits, place);
  return layout;
}

Session::Session(World& world_in, TrainingModel model_in, TrainerOptions options_in)
    : world(world_in), model(std::move(model_in)), options(std::move(options_in)) {
  check_usable(model, options);
  at::set_num_threads(options.threads);
  kind_of_device = world.device().make_reproducible();
  layout = layout_of(options, world.size(), "trainer - layout");
  role = mesh::role_of(layout, world.rank());
  schedule = lower::schedule_gradients(options.microbatches, layout, world.rank());
  for (int64_t m = 0; m < options.microbatches && role.computes; ++m)
    if (schedule.dealt[static_cast<size_t>(m)] == role.dp) microbatches.push_back(m);
  tensors = capture::named_tensors(*model.module);
  check_is_described(model, tensors);
}

void Session::hold_settings() const {
  if (at::get_num_threads() != options.threads) at::set_num_threads(options.threads);
  if (const std::string kind = world.device().make_reproducible(); kind != kind_of_device)
    throw InputError(cat("trainer - device.kind: it was \"", kind_of_device,
                         "\" when the trainer was made and is \"", kind,
                         "\" now; set what decides the bits of a run before, and leave it"));
}

void Session::define(const std::string& graph_hash, const std::string& divided_hash) {
  definition = run_definition(options, graph_hash, kind_of_device);
  if (!divided_hash.empty()) definition["divided_graph"] = divided_hash;
}

}  // namespace shoal::session
