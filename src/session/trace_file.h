// A trace of a Trainer's steps, in the Chrome trace event format: docs/commands.md, "shoal trace".
#pragma once

#include <filesystem>
#include <fstream>
#include <string>

#include "comm/group.h"
#include "run/step_trace.h"
#include "session/session.h"

namespace shoal::session {

/// "none", or the file and the steps.
std::string print(const TraceOptions&);

/// Leaves an empty trace there, to see that it can be. Throws InputError when it cannot.
void check_trace_file(const std::filesystem::path&);

/// Every device writes down what it did; the first one has the file, which is whole after each step, whatever
/// ends the run later. Belongs to its trainer's thread. The session outlives it.
class TraceFile {
 public:
  /// On the first device: an empty trace. Throws InputError when it cannot be written.
  explicit TraceFile(const Session&);

  /// Where the step that comes is written down; null when it is not traced.
  run::StepTrace* next();
  /// Collective: that step has ended well. Throws JobError when the file cannot be written.
  void step_ended(comm::Group& world);

 private:
  const Session& session_;
  int64_t num_steps_ = 0;   // that this trainer has made
  run::StepTrace trace_;    // of the last one that is traced
  std::ofstream file_;      // of the first device
  std::streamoff end_ = 0;  // of the events
};

}  // namespace shoal::session
