// The values of one microbatch in flight: runs a CompiledGraph, node by node, in one go or in pieces.
#pragma once

#include <functional>
#include <memory>
#include <span>

#include "base/blocks.h"
#include "run/compiled_graph.h"
#include "run/frame_memory.h"
#include "shoal/error.h"

namespace shoal::run {

/// A kernel threw, LibTorch's or the user's own, which knows neither rank nor step:
/// "operator aten::nll_loss_forward - failed: Target 7 is out of bounds.".
class OperatorFailed : public JobError {
 public:
  using JobError::JobError;
};

/// Belongs to one thread. REQUIRES: its microbatches run alike, values dropped between nodes included: their places
/// in memory are planned from one (arena.h). program_check holds Programs to that.
class Frame {
 public:
  /// With memory of its own. `graph` must outlive the frame.
  explicit Frame(CompiledGraph& graph);
  /// With memory that it shares, whose runs others begin and end.
  Frame(CompiledGraph& graph, FrameMemory& shared);
  Frame(const Frame&) = delete;
  Frame& operator=(const Frame&) = delete;

  /// What becomes of output `index` (of graph::outputs): called once its node has run; the tensor is valid
  /// during the call and, when kept, after it.
  using Sink = std::function<void(int index, const at::Tensor&)>;

  struct Start {
    std::span<const at::Tensor> inputs;  // as graph.inputs; constants may be undefined (the graph has them), and
                                         // parameters that are fetched
    kernels::RandomKey random;
    bool sequential_random = false;  // random operators draw from LibTorch's own generator, in order
                                     // (initialisations)
  };
  /// Throws JobError when an input that the graph reads has no value.
  void begin(const Start&);
  /// Runs these nodes. `placement`: where outputs should lie, if anywhere in particular; may be empty. Throws
  /// JobError naming the node on any failure.
  void run(Range nodes, const Sink&, const Arena::Placement& placement = {});
  /// Drops all that is left.
  void end();
  /// All three.
  void run_all(const Start&, const Sink&, const Arena::Placement& placement = {});

  // --- For what happens between two runs, at nodes that communicate ---
  const at::Tensor& value(graph::ValueId id) const { return values_[static_cast<size_t>(id)]; }
  void drop(graph::ValueId id);
  void replace(graph::ValueId id, at::Tensor tensor) {
    drop(id);
    set(id, std::move(tensor));
  }
  /// The values that node `n` reads, in order.
  std::vector<at::Tensor> arguments(size_t n) const;
  /// Its results are these, and what nobody reads after it is dropped. What of them leaves the graph is delivered
  /// by the next run().
  void define(size_t n, std::span<const at::Tensor> results);
  /// Allocations go to the frame's memory while it lives.
  Arena::Scope scope() { return memory_.scope(nowhere_); }
  int64_t peak_bytes() const { return memory_.peak_bytes(); }

 private:
  using Step = CompiledGraph::Step;
  void execute(const Step&);
  void deliver(const at::Tensor&, int index, const Sink&);
  void set(graph::ValueId id, at::Tensor);
  void note_progress(int64_t end);  // the nodes before `end` have run

  CompiledGraph& compiled_;
  const graph::Graph& graph_;
  std::vector<at::Tensor> values_;
  kernels::RandomKey random_;
  bool sequential_random_ = false;
  bool inputs_delivered_ = false;
  std::vector<std::pair<at::Tensor, int>> undelivered_;  // results of nodes that communicate, and their outputs
  bool is_whole_ = false;  // all nodes have run
  std::unique_ptr<FrameMemory> own_;
  FrameMemory& memory_;
  Arena::Placement nowhere_;
};

}  // namespace shoal::run
