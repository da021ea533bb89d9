// Runs a Program: one function per kind of Instruction.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "comm/group.h"
#include "lower/buckets.h"
#include "lower/program.h"
#include "lower/storage.h"
#include "run/buffer_updates.h"
#include "run/device_memory.h"
#include "run/exchange.h"
#include "run/executor.h"
#include "run/externals.h"
#include "run/gradient_stream.h"
#include "shoal/error.h"

namespace shoal::run {

/// What the interpreter asks of the optimizer: update `owned` masters from gradients that are `divisor` times
/// too large.
using Update = std::function<void(std::vector<OwnedPiece>& owned, float divisor)>;

struct StepRequest {
  const graph::Graph* graph;                              // this device's
  Executor* executor;                                     // of that graph
  const std::vector<lower::Contribution>* contributions;  // lower::contributions_of(graph)
  const std::vector<lower::Bucket>* buckets;              // lower::plan_buckets(graph); used by rounds
  BufferUpdates* buffers;                                 // of that graph
  const Externals* externals;                             // of that graph, bound
  Exchanger* exchanger;                                   // null unless tp > 1
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
  Traffic traffic;       // of this device, in this step
  StepSeconds seconds;
};

/// The graph's inputs from what the device keeps, the externals as they were bound last, and the batch.
/// Undefined are constants, which the executor has, and parameters that are gathered on use.
std::vector<at::Tensor> bind_inputs(const graph::Graph&, const DeviceMemory&, const Externals&,
                                    const std::vector<at::Tensor>& batch);
/// Gathers input `index` of the graph: Executor::Run::fetch.
std::function<at::Tensor(size_t)> gather_inputs(const graph::Graph&, DeviceMemory&);

/// A gradient or a loss that is not finite: thrown on every rank alike, so that the job could go on.
class NotFinite : public JobError {
 public:
  using JobError::JobError;
};

class Interpreter {
 public:
  /// Collective. References must outlive the interpreter. The group is the world.
  Interpreter(comm::Group&, const lower::Program&, DeviceMemory&, Update);

  /// Collective. Throws NotFinite, on every rank and before any weight changes, when the gradient or a
  /// microbatch's loss is not finite; what else it throws may be this rank's alone.
  StepOutcome run(const StepRequest&);

  /// Room for gradients on their way to their owners.
  int64_t buffer_bytes() const;

 private:
  using GradientSink = std::function<void(size_t contribution, const at::Tensor&)>;
  void run_microbatch(int64_t microbatch, const StepRequest&, const Arena::Placement&, const GradientSink&);
  void compute(const lower::Instruction&, const StepRequest&);
  void round(const lower::Instruction&, const StepRequest&);
  void add_slot(const lower::Instruction&);
  void reduce_scatter();
  void sum_roots(size_t unit, size_t contribution, Range elements, std::span<float> into);
  void all_reduce_norm(const StepRequest&);
  void check_losses(const StepRequest&) const;
  void all_gather_gradients();
  void update();
  void all_gather();
  void barrier();

  comm::Group& world_;
  const lower::Program& program_;
  DeviceMemory& memory_;
  const lower::Storage& storage_;
  Update update_;
  std::optional<GradientStream> stream_;  // with rounds
  StepOutcome outcome_;
  std::vector<double> losses_;  // of all microbatches
  float divisor_ = 1;
  std::vector<std::vector<std::byte>> scratch_;  // one per root, for transports that cannot read in place
  std::vector<float> sum_;
};

}  // namespace shoal::run
