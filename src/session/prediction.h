// What a model makes of a data set, divided over the devices and brought together, in order, at the first.
#pragma once

#include <functional>

#include "session/function.h"
#include "session/session.h"
#include "session/training_step.h"
#include "session/weights.h"

namespace shoal::session {

/// Collective: replicas take the `count` batches in turn; on the first device take(i, what the function returns for
/// batch i) is called for each, in order. No device holds more than one batch's results, the first one two. What it
/// throws may be this rank's alone.
void predict(const Session&, Function& prediction, Weights&, TrainingStep& steps, int64_t count,
             const std::function<Batch(int64_t)>& batch,
             const std::function<void(int64_t, const at::Tensor&)>& take);

}  // namespace shoal::session
