// Buffers that forward changes, such as a batch norm's running statistics: after a step, every device replays
// the update of every microbatch, in order, so that all keep the same bits (docs/numerics.md, "buffers").
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "comm/group.h"
#include "graph/graph.h"
#include "run/device_memory.h"
#include "run/frame.h"

namespace shoal::run {

class BufferUpdates {
 public:
  /// Both are kept by reference and must outlive this.
  BufferUpdates(const graph::Graph& graph, kernels::Device& device);

  /// Whether output `index` (of graph::outputs) is one that the update reads.
  bool observes(int index) const { return index >= first_output_; }

  /// Keeps a copy of output `index` of this microbatch. REQUIRES: observes(index).
  void observe(int64_t microbatch, int index, const at::Tensor& value);

  /// Collective: gathers what all devices observed of the step's microbatches, replays the update for each in
  /// order, and installs the buffers' new values. Forgets what was observed.
  void apply(comm::Group& world, DeviceMemory&, int64_t num_microbatches);

  /// Forgets what was observed, for example of a step that failed.
  void clear() { observed_.clear(); }

 private:
  using Seen = std::map<size_t, std::vector<std::byte>>;  // by index in graph.buffer_update.observed
  std::map<int64_t, Seen> gather(comm::Group& world, int64_t num_microbatches);

  const graph::Graph& graph_;
  kernels::Device& device_;
  std::vector<size_t> here_;  // of graph.buffer_update.observed: those that this device's stages make
  int first_output_;          // of them
  std::unique_ptr<CompiledGraph> compiled_;              // of the update; none: no buffer changes
  std::unique_ptr<Frame> frame_;
  std::map<std::pair<int64_t, size_t>, at::Tensor> observed_;  // by microbatch and index
};

}  // namespace shoal::run
