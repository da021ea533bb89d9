// What a trace (docs/commands.md, "shoal trace") says of a run: where each device's time went, and a picture.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "app/timeline.h"

namespace shoal::app {

struct TraceEvent {
  Work work;
  double begin, end;  // microseconds
  std::string label;  // of what computes: the microbatch
};

struct Trace {
  std::string layout;
  // By device, in order; waits after what they lie in.
  std::map<int64_t, std::vector<std::vector<TraceEvent>>> steps;
};

/// Throws InputError when it is no trace of Shoal's.
Trace read_trace(const std::filesystem::path&);

/// Shares of the traced steps' time, a line for each device. A step begins when the first device begins its
/// Program, and ends when the last one ends. REQUIRES: there are steps.
std::string trace_text(const Trace&);

/// The step of median length. REQUIRES: there are steps.
Drawing draw_trace(const Trace&);

}  // namespace shoal::app
