// One batch through a model's code in eval mode, without gradients, as this device computes its part of it.
#pragma once

#include <functional>
#include <string>

#include "session/function.h"
#include "session/session.h"
#include "session/training_step.h"
#include "session/weights.h"

namespace shoal::session {

/// Which batch, and what makes it.
struct ForwardBatch {
  std::string call;  // "evaluate": what the user called
  int64_t number;
  const std::function<Batch(int64_t)>& make;
};

/// `result` takes what the code returns, on the devices that have it; null: it is a loss, which is returned (0 on
/// devices of other stages). Devices that share the batch call it together. `steps` has what runs a Program. What it
/// throws may be this rank's alone.
double run_forward(const Session&, Function&, Weights&, TrainingStep& steps, const ForwardBatch&,
                   std::function<void(const at::Tensor&)> result = {});

}  // namespace shoal::session
