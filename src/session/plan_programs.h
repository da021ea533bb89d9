// The Programs of every device of a layout, without any of the devices.
#pragma once

#include <vector>

#include "lower/program.h"
#include "shoal/trainer.h"

namespace shoal::session {

/// What a Trainer with these options would run on so many devices for microbatches like this one, by rank. Throws
/// InputError for what a Trainer would refuse.
std::vector<lower::Program> plan_programs(const TrainingModel&, const Batch& microbatch, const TrainerOptions&,
                                          int64_t devices);

}  // namespace shoal::session
