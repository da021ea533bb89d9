#include "session/kept.h"

#include "session/optimizer_state.h"

namespace shoal::session {

lower::Kept kept_of(const TrainingModel& model, const capture::NamedTensors& tensors, const lower::Storage& storage,
                    const TrainerOptions& options) {
  lower::Kept kept{.optimizer_states = options.offload.empty() ? num_states(options.optimizer) : 0};
  for (const capture::NamedTensor& named : tensors.all()) {
    if (!storage.units_of(named.name).empty()) continue;
    const c10::ScalarType dtype = capture::compute_dtype(*model.module, named, options.precision);
    const int64_t numel = named.tensor.numel();
    kept.module_bytes += numel * static_cast<int64_t>(named.tensor.element_size());
    if (dtype != named.tensor.scalar_type())
      kept.module_bytes += numel * static_cast<int64_t>(c10::elementSize(dtype));
  }
  return kept;
}

}  // namespace shoal::session
