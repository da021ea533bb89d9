// What a device keeps of a model besides what its graph says, known before anything is allocated.
#pragma once

#include "capture/capture.h"
#include "lower/lower.h"
#include "shoal/trainer.h"

namespace shoal::session {

/// `storage`: of the trained parameters. Frozen parameters and buffers are kept as the module has them, and as
/// forward reads them where that differs.
lower::Kept kept_of(const TrainingModel&, const capture::NamedTensors&, const lower::Storage& storage,
                    const TrainerOptions&);

}  // namespace shoal::session
