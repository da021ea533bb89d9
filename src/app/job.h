// A training run from a recipe: the loop around Trainer, and the files it leaves.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

#include "app/progress.h"
#include "app/recipe.h"
#include "shoal/world.h"

namespace shoal::app {

struct JobOptions {
  std::filesystem::path out;                    // exists
  std::optional<std::filesystem::path> resume;  // the checkpoint to go on from
  std::optional<std::filesystem::path> from;    // a model whose numbers the weights begin with, unless a checkpoint goes on
  int64_t until = 0;                            // the step to end after; 0: the recipe's last
  bool profile = false;
  std::filesystem::path trace;    // file; none: no trace
  std::string program = "shoal";  // as the user calls it, for what to try next
  std::string resume_command;     // what goes on from the last checkpoint of this run
};

/// Collective: every device calls it with the same arguments; `progress` speaks on rank 0 alone. In `out` it
/// leaves metrics.jsonl, recipe.toml, plan.txt and checkpoints/; the trace has the steps after the first two, four at
/// most. A wish to stop (Ctrl-C) ends it with a checkpoint and JobError "stopped at step 12".
void run_job(World&, const Recipe&, const JobOptions&, Progress& progress);

}  // namespace shoal::app
