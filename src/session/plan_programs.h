// The Programs of every device of a layout, without any of the devices.
#pragma once

#include <vector>

#include "lower/program.h"
#include "lower/stages.h"
#include "shoal/trainer.h"

namespace shoal::session {

struct Planned {
  std::vector<lower::Program> programs;  // by rank
  Layout layout;
  // With pp > 1:
  lower::StageCut cut;
  std::vector<lower::StageCost> costs;  // by stage, of a microbatch on one device
  lower::Grid grid;                     // of the first pipeline
};

/// What a Trainer with these options would run on so many devices for microbatches like this one. Throws InputError for
/// what a Trainer would refuse.
Planned plan_programs(const TrainingModel&, const Batch& microbatch, const TrainerOptions&, int64_t devices);

}  // namespace shoal::session
