// When each instruction of a Program ran, and when it waited: what the interpreter writes down of a step.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "lower/pipeline_schedule.h"
#include "run/execution.h"
#include "run/waits.h"

namespace shoal::run {

/// What the time of a step goes to, as StepResult::Seconds has it.
enum class Part { kCompute, kReduce, kUpdate, kGather, kWait };
const char* name_of(Part);
/// Of an instruction's own time, without its waits.
Part part_of(lower::Instruction::Kind);

struct TracedInstruction {
  std::string text;  // as the Program prints it
  Part part = Part::kCompute;
  int64_t microbatch = -1;          // -1: it is of none
  int stage = -1;                   // -1: it is of none, or the model is not cut
  std::optional<lower::Turn> turn;  // of a `run` in a pipeline: the pass that it belongs to
  Clock::time_point begin, end;
  std::vector<Wait> waits;  // within it, one after the other
};

/// Of one device and one step. Belongs to the device's thread.
class StepTrace {
 public:
  /// A step begins; what was written down before is forgotten. All texts are made here, so that between two
  /// instructions nothing is left to do but to keep the times.
  void begin(int64_t step, const Execution&);
  /// The next instruction has run.
  void add(Clock::time_point begin, Clock::time_point end, const Waits&);

  int64_t step() const { return step_; }
  const std::vector<TracedInstruction>& instructions() const { return instructions_; }

 private:
  int64_t step_ = -1;
  size_t num_run_ = 0;
  std::vector<TracedInstruction> instructions_;
};

}  // namespace shoal::run
