// The mean loss over some batches, in eval mode and without gradients.
#pragma once

#include <functional>

#include "session/function.h"
#include "session/session.h"
#include "session/training_step.h"
#include "session/weights.h"

namespace shoal::session {

/// Collective: each device that computes takes its share of the `count` batches. `steps` has what runs a
/// Program. What it throws may be this rank's alone.
double mean_loss(const Session&, Function& evaluation, Weights&, TrainingStep& steps, int64_t count,
                 const std::function<Batch(int64_t)>& batch);

}  // namespace shoal::session
