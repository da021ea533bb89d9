// A Graph made ready to run with LibTorch's kernels: what all its runs share. A Frame (frame.h) runs it.
#pragma once

#include <ATen/core/dispatch/Dispatcher.h>

#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "graph/graph.h"
#include "kernels/device.h"

namespace shoal::run {

/// What a Frame learns in its first run and keeps to, and what it notes, is here too: so it belongs to one thread.
class CompiledGraph {
 public:
  /// `graph` and `device` are kept by reference and must outlive this. `kept`: values that stay in a Frame until
  /// they are dropped there (a bucket takes gradients after the node that made them).
  CompiledGraph(const graph::Graph& graph, kernels::Device& device, const std::set<graph::ValueId>& kept = {});
  CompiledGraph(const CompiledGraph&) = delete;
  CompiledGraph& operator=(const CompiledGraph&) = delete;

  const graph::Graph& graph() const { return graph_; }
  kernels::Device& device() const { return device_; }

  /// Seconds by operator since the start; empty unless profiling.
  void set_profiling(bool on) { profiling_ = on; }
  const std::map<std::string, double>& seconds_by_operator() const { return seconds_; }

 private:
  friend class Frame;

  struct Step {
    const graph::Node* node;
    std::optional<c10::OperatorHandle> op;  // none: the device talks to others there, and no kernel runs
    kernels::Kernel kernel;
    bool draws;                             // the kernel draws random numbers by counter
    std::vector<c10::IValue> arguments;     // tensors are filled in at run time
    std::vector<size_t> tensor_arguments;
    std::vector<std::pair<graph::ValueId, int>> outputs;
    std::vector<graph::ValueId> last_uses;
  };

  const graph::Graph& graph_;
  kernels::Device& device_;
  std::vector<Step> steps_;
  std::vector<std::pair<size_t, int>> input_outputs_;  // outputs that are inputs, by position
  std::vector<bool> input_is_read_;                    // by position
  bool types_checked_ = false;
  // Results that lie in memory otherwise than predicted: copied to lie so, since what reads them (a view of
  // them, as_strided) was recorded for that.
  std::set<graph::ValueId> restrided_;
  bool profiling_ = false;
  std::map<std::string, double> seconds_;
};

/// Whether a node is a place where a device talks to others: an exchange, a fetch, or a transfer.
bool communicates(const graph::Node&);

}  // namespace shoal::run
