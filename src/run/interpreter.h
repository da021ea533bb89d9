// Runs a Program: one function per kind of Instruction, and nothing that is not in the Program.
#pragma once

#include <functional>
#include <string_view>
#include <vector>

#include "comm/group.h"
#include "run/device_memory.h"
#include "run/exchange.h"
#include "run/execution.h"
#include "run/gradient_sums.h"
#include "run/norm.h"
#include "run/step_trace.h"
#include "run/waits.h"

namespace shoal::run {

/// What the interpreter asks of the optimizer: update `owned` masters from gradients that are `divisor` times
/// too large.
using Update = std::function<void(std::vector<OwnedShard>& owned, float divisor)>;

struct Request {
  std::function<std::vector<at::Tensor>(int64_t microbatch)> batch;
  kernels::RandomKey random;  // of microbatch 0
  int64_t step;
  double clip_norm = 0;  // 0: no clipping
  bool stop = false;     // this device wishes to stop
  StepTrace* trace = nullptr;  // where it is written down; null: nowhere
  // What takes a result of an evaluation, on the devices that have it, in the order of the graph's results; it must
  // not keep the tensor. Null: there is one, a loss.
  std::function<void(const at::Tensor&)> result = {};
};

/// Seconds of the step's parts on this device.
struct StepSeconds {
  double compute = 0, reduce = 0, update = 0, gather = 0, wait = 0;
  double& of(Part);
};

struct StepOutcome {
  double loss = 0;       // training: the mean over the microbatches, in fp32; evaluation: of the batch
  double grad_norm = 0;  // of the mean gradient, before clipping
  bool stop = false;     // some device wishes to stop
  Traffic traffic;       // of this device, in this step
  StepSeconds seconds;
};

class Interpreter {
 public:
  /// Collective. References must outlive the interpreter. The group is the world.
  Interpreter(comm::Group& world, DeviceMemory&, Update);

  /// For Programs with exchanges. Must outlive the interpreter.
  void set_exchanger(Exchanger* exchanger) { exchanger_ = exchanger; }

  /// Collective for a Program that has collectives. Throws NotFinite, on every rank and before any weight changes,
  /// when the gradient or a microbatch's loss is not finite; what else it throws may be this rank's alone.
  StepOutcome run(Execution&, const Request&);

  /// For gradients on their way to their owners.
  int64_t window_bytes() const { return sums_.window_bytes(); }

 private:
  using Instruction = lower::Instruction;
  struct Now {  // the run that is under way
    Execution& execution;
    const Request& request;
    const lower::Program& program;
    const bool shows_numbers;  // to all devices: it is a step, not an evaluation
  };
  void execute(const Instruction&, Now&);
  void load(const Instruction&, Now&);
  void run_segment(const Instruction&, Now&);
  void fetch(const Instruction&, Now&);
  void exchange(const Instruction&, Now&);
  void send(const Instruction&, Now&);
  void receive(const Instruction&, Now&);
  void add(const Instruction&, Now&);
  void begin(const Instruction&, Now&);
  void sum(const Instruction&, Now&);
  void all_reduce(const Instruction&, Now&);
  void all_gather(const Instruction&, Now&);
  void meet(const Instruction&);
  void act(const Now&, std::string_view what) const;

  comm::Group& world_;
  DeviceMemory& memory_;
  Update update_;
  Waits waits_;  // of the instruction at hand
  GradientSums sums_;
  Exchanger* exchanger_ = nullptr;
  StepOutcome outcome_;
  std::vector<int64_t> microbatch_;  // by frame
  float divisor_ = 1;
};

}  // namespace shoal::run
