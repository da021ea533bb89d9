// Runs a Program: one function per kind of Instruction.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>

#include "comm/comm.h"
#include "lower/program.h"
#include "lower/storage.h"
#include "run/buffer_updates.h"
#include "run/device_memory.h"
#include "run/executor.h"

namespace shoal::run {

/// What the interpreter asks of the optimizer: update `owned` masters from gradients that are `divisor` times
/// too large.
using Update = std::function<void(std::vector<OwnedPiece>& owned, float divisor)>;

struct StepRequest {
  const graph::Graph* graph;
  Executor* executor;      // of that graph
  BufferUpdates* buffers;  // of that graph
  std::function<std::vector<at::Tensor>(int64_t microbatch)> batch;
  uint64_t seed;
  int64_t step;
  double clip_norm;  // 0: no clipping
  bool stop;         // this device wishes to stop
};

/// Seconds of the step's parts on this device.
struct StepSeconds {
  double compute = 0, reduce = 0, update = 0, gather = 0, wait = 0;
};

struct StepOutcome {
  float loss = 0;        // the mean over the microbatches
  double grad_norm = 0;  // of the mean gradient, before clipping
  bool stop = false;     // some device wishes to stop
  StepSeconds seconds;
};

/// The graph's inputs from what the device keeps and the batch; constants are left to the executor.
std::vector<at::Tensor> bind_inputs(const graph::Graph&, const DeviceMemory&,
                                    const std::vector<at::Tensor>& batch);

class Interpreter {
 public:
  /// References must outlive the interpreter.
  Interpreter(comm::Communicator&, const lower::Storage&, const lower::Program&, DeviceMemory&, Update);

  /// Collective. Throws JobError, before any weight changes, when the gradient is not finite.
  StepOutcome run(const StepRequest&);

 private:
  void compute(const lower::Instruction&, const StepRequest&);
  void add_slot(const lower::Instruction&);
  void reduce_scatter();
  void reduce_block(OwnedPiece&, Range elements);
  void all_reduce_norm(const StepRequest&);
  void update();
  void all_gather();
  void barrier();

  comm::Communicator& communicator_;
  const lower::Storage& storage_;
  const lower::Program& program_;
  DeviceMemory& memory_;
  Update update_;
  StepOutcome outcome_;
  float divisor_ = 1;
  std::vector<std::pair<size_t, size_t>>
      contribution_of_output_;                   // graph output - 1 -> (parameter, contribution)
  std::vector<std::vector<std::byte>> scratch_;  // one per root, for transports that cannot read in place
  std::vector<float> sum_;
};

}  // namespace shoal::run
