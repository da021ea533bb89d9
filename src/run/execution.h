// A Program of this device with what it takes to run it: the graph, compiled, frames, and the memory of the model.
#pragma once

#include <memory>
#include <vector>

#include "lower/local_graph.h"
#include "lower/program.h"
#include "run/buffer_updates.h"
#include "run/device_memory.h"
#include "run/externals.h"
#include "run/frame.h"
#include "run/live_tensors.h"
#include "run/transfers.h"

namespace shoal::run {

/// Belongs to one thread.
class Execution {
 public:
  /// `program` is of `local`; `live` and `device` must outlive this.
  /// Collective over the devices of a pipeline; `world` is all devices.
  Execution(lower::LocalGraph local, lower::Program program, const lower::Storage&, comm::Group& world,
            LiveTensors& live, kernels::Device& device);
  Execution(const Execution&) = delete;
  Execution& operator=(const Execution&) = delete;

  const lower::LocalGraph local;
  const lower::Program program;
  const std::vector<lower::Contribution> contributions;  // of the graph's gradients
  CompiledGraph graph;
  BufferUpdates buffers;
  Externals externals;  // bound by whoever runs it
  Transfers transfers;

  /// One run of the Program: frames of a pipeline share memory, which is planned over all of it.
  void begin_run();
  /// No frame holds anything more. `is_whole`: nothing failed.
  void end_run(bool is_whole);

  Frame& frame(int number) { return *frames_.at(static_cast<size_t>(number)); }
  size_t num_frames() const { return frames_.size(); }
  /// The most bytes that its frames had at a time, as measured.
  int64_t frame_bytes() const;

 private:
  std::unique_ptr<FrameMemory> shared_;  // of a pipeline
  std::vector<std::unique_ptr<Frame>> frames_;
};

/// The graph's inputs from what the device keeps, the externals as they were bound last, and the batch.
/// Undefined are constants, which the graph has, and parameters that are fetched.
std::vector<at::Tensor> bind_inputs(const graph::Graph&, const DeviceMemory&, const Externals&,
                                    const std::vector<at::Tensor>& batch);

}  // namespace shoal::run
