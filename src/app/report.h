// What a run says of itself before the first step and after the last one.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "app/recipe.h"
#include "app/samples.h"
#include "shoal/trainer.h"

namespace shoal::app {

struct Opening {
  std::filesystem::path out;
  int64_t num_parameters = 0;
  int64_t steps_done = 0;  // above 0: the run goes on
  int64_t validation_samples = 0;
  int devices = 1;
};
std::string opening_text(const Recipe&, const Samples&, const Opening&);

struct Closing {
  int64_t steps_done = 0, steps_here = 0;  // in all, and by this command
  double seconds = 0;
  std::optional<float> first_loss, last_loss;
  std::optional<double> validation_loss;
  std::filesystem::path out, checkpoint;
  std::string content_hash;
  std::string program, resume_command;  // for what to try next
};
std::string closing_text(const Recipe&, const Samples&, const Closing&);

/// Where the trace is, and what to do with it.
std::string traced_text(const std::filesystem::path& trace, const std::string& program);

/// Where the time went: by part for each device, by operator on the first.
std::string profile_text(const std::vector<StepResult::Seconds>& by_device,
                         const std::map<std::string, double>& by_operator);

}  // namespace shoal::app
