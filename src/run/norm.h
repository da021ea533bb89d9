// What all devices learn of a step before anyone updates: the loss, the gradient's norm, whether both are finite.
#pragma once

#include "lower/program.h"
#include "run/device_memory.h"
#include "shoal/error.h"

namespace shoal::run {

/// A gradient or a loss that is not finite: thrown on every rank alike, so that the job could go on.
class NotFinite : public JobError {
 public:
  using JobError::JobError;
};

struct Norm {
  float loss = 0;        // the mean over the microbatches
  double grad_norm = 0;  // of the mean gradient, before clipping
  float divisor = 1;     // what the summed gradient is divided by: the microbatches, and what clipping asks for
  bool stop = false;     // some device wishes to stop
};

/// Reads the boards of all devices; the same on each of them. REQUIRES: all have written theirs. Throws NotFinite.
Norm read_norm(DeviceMemory&, const lower::Program&, int64_t step, double clip_norm);

}  // namespace shoal::run
