// Runs a Graph on the CPU, node by node, with LibTorch's kernels.
#pragma once

#include <ATen/core/dispatch/Dispatcher.h>

#include <functional>
#include <map>
#include <optional>
#include <set>
#include <span>

#include "graph/graph.h"
#include "run/arena.h"
#include "run/kernels.h"
#include "shoal/error.h"

namespace shoal::run {

/// A kernel threw, LibTorch's or the user's own, which knows neither rank nor step:
/// "operator aten::nll_loss_forward - failed: Target 7 is out of bounds.".
class OperatorFailed : public JobError {
 public:
  using JobError::JobError;
};

class Executor {
 public:
  /// `graph` is kept by reference and must outlive the executor. `gathers`: parameters are bound only while
  /// they are used (lower/gather_plan.h); those that a run leaves undefined are fetched.
  explicit Executor(const graph::Graph& graph, bool gathers = false);

  /// What becomes of output `index` (of graph::outputs): called once its node has run; the tensor is valid
  /// during the call and, when kept, after it.
  using Sink = std::function<void(int index, const at::Tensor&)>;

  struct Run {
    std::span<const at::Tensor> inputs;  // as graph.inputs; constants may be undefined (the graph has them)
    std::function<at::Tensor(size_t input)> fetch;  // a parameter that is undefined in `inputs`
    RandomKey random;
    Sink sink;
    Arena::Placement placement;  // where outputs should lie, if anywhere in particular; may be empty
    bool sequential_random =
        false;  // random operators draw from LibTorch's own generator, in order (initialisations)
    Exchanger* exchanger = nullptr;  // for the exchanges of a local graph (lower/local_graph.h)
  };
  /// Throws JobError naming the node on any failure. Not thread-safe: one run at a time.
  void run(const Run&);

  /// Seconds by operator since the start; empty unless profiling.
  void set_profiling(bool on) { profiling_ = on; }
  const std::map<std::string, double>& seconds_by_operator() const { return seconds_; }

  size_t arena_bytes() const { return arena_.bytes(); }
  /// The most bytes of fetched parameters that were there at a time.
  int64_t peak_fetched_bytes() const { return peak_fetched_bytes_; }

 private:
  struct Step {
    const graph::Node* node;
    std::optional<c10::OperatorHandle> op;
    Kernel kernel;
    bool draws;  // the kernel draws random numbers by counter
    std::vector<c10::IValue> arguments;  // tensors are filled in at run time
    std::vector<size_t> tensor_arguments;
    std::vector<std::pair<graph::ValueId, int>> outputs;
    std::vector<graph::ValueId> last_uses;
    // When parameters are gathered:
    bool is_view = false;                // of a parameter: runs after its gathering
    std::vector<size_t> gathers, drops;  // inputs, before and after
  };
  void plan_gathers();
  void gather(size_t input, const Run&);
  void drop(size_t input, const Run&);
  void execute(const Step&, const Run&, bool check_types);
  void deliver(graph::ValueId id, int index, const Run&);

  const graph::Graph& graph_;
  std::vector<Step> steps_;
  std::vector<std::pair<size_t, int>> input_outputs_;  // outputs that are inputs, by position
  std::vector<at::Tensor> values_;
  std::vector<std::vector<size_t>> views_;  // by input: steps, when parameters are gathered; else empty
  int64_t fetched_bytes_ = 0, peak_fetched_bytes_ = 0;
  Arena arena_;
  bool types_checked_ = false;
  // Results that lie in memory otherwise than predicted: copied to lie so, since what reads them (a view of
  // them, as_strided) was recorded for that.
  std::set<graph::ValueId> restrided_;
  bool profiling_ = false;
  std::map<std::string, double> seconds_;
};

}  // namespace shoal::run
