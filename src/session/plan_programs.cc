#include "session/plan_programs.h"

#include <ATen/Parallel.h>

#include "base/text.h"
#include "capture/capture.h"
#include "kernels/cpu/cpu_device.h"
#include "lower/lower.h"
#include "mesh/layout.h"
#include "numerics/divided_run.h"
#include "session/batch.h"
#include "session/optimizer_state.h"
#include "shoal/error.h"

namespace shoal::session {
namespace {

// Frozen parameters and buffers are kept as the module has them, and as forward reads them where that differs.
int64_t module_bytes(const TrainingModel& model, const lower::Storage& storage, Precision precision) {
  int64_t bytes = 0;
  for (const capture::NamedTensor& named : capture::named_tensors(*model.module).all()) {
    if (!storage.units_of(named.name).empty()) continue;
    const c10::ScalarType dtype = capture::compute_dtype(*model.module, named, precision);
    const int64_t numel = named.tensor.numel();
    bytes += numel * static_cast<int64_t>(named.tensor.element_size());
    if (dtype != named.tensor.scalar_type()) bytes += numel * static_cast<int64_t>(c10::elementSize(dtype));
  }
  return bytes;
}

}  // namespace

std::vector<lower::Program> plan_programs(const TrainingModel& model, const Batch& microbatch,
                                          const TrainerOptions& options, int64_t devices) {
  const mesh::Limits limits{devices, options.microbatches, options.tensor_chunks};
  const Layout layout = options.layout ? *options.layout : mesh::default_layout(limits, "plan - layout");
  mesh::check_layout(layout, limits, "plan - layout");
  at::set_num_threads(options.threads);
  kernels::Device& device = kernels::cpu();
  device.make_reproducible();
  graph::Graph captured = capture::capture_training(
      device, model, shapes_of(microbatch), options.precision,
      options.tensor_chunks > 1 ? capture::Form::kDivisible : capture::Form::kWhole);
  const numerics::DividedRun run = numerics::divide_run(std::move(captured), options.tensor_chunks, nullptr);
  const lower::Storage storage = lower::plan_storage(run.graph);
  const lower::Ownership ownership(storage, layout);
  const lower::Kept kept{num_states(options.optimizer), module_bytes(model, storage, options.precision)};
  return lower::lower_training(run.graph, ownership, options.microbatches, 0, kept).programs;
}

}  // namespace shoal::session
