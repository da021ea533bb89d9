#include "session/plan_programs.h"

#include <ATen/Parallel.h>

#include <algorithm>

#include "capture/capture.h"
#include "kernels/cpu/cpu_device.h"
#include "lower/lower.h"
#include "numerics/divided_run.h"
#include "session/batch.h"
#include "session/kept.h"
#include "session/measured_costs.h"
#include "session/session.h"
#include "session/weights.h"

namespace shoal::session {

Planned plan_programs(const TrainingModel& model, const Batch& microbatch, const TrainerOptions& options,
                      int64_t devices) {
  check_usable(model, options);
  const capture::NamedTensors tensors = capture::named_tensors(*model.module);
  check_is_described(model, tensors);
  const Layout layout = layout_of(options, devices, "plan - layout");
  at::set_num_threads(options.threads);
  kernels::Device& device = kernels::cpu();
  device.make_reproducible();
  graph::Graph captured =
      capture::capture_training(device, model, shapes_of(microbatch), options.precision, form_of(options));
  const numerics::DividedRun run = numerics::divide_run(std::move(captured), options.tensor_chunks, nullptr);
  const lower::Storage storage = storage_of(run.graph);
  const std::unique_ptr<comm::Communicator> alone = comm::single();
  comm::Group group(*alone);
  const lower::Ownership ownership =
      lower::own(run.graph, storage, layout, options.stages, lower::parse_grid(options.grid),
                 measured_costs(run.graph, layout, device, group));
  lower::Lowered lowered = lower::lower_training(run.graph, ownership, options.microbatches, 0,
                                                 kept_of(model, tensors, storage, options));
  Planned planned{std::move(lowered.programs), layout, ownership.cut(), std::move(lowered.costs), {}};
  if (layout.pp > 1)
    planned.grid = lower::Grids(ownership, planned.costs).of(std::ranges::count(planned.programs[0].dealt, 0)).grid;
  return planned;
}

}  // namespace shoal::session
