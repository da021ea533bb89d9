// Records every operator that reaches a ghost tensor as a Node of a Graph.
//
// One boxed function is registered on PrivateUse1 for every operator that is not composite. While a Recording
// is active, that function appends nodes to its graph; autograd and functionalization run above it as they
// always do. Threads: one Recording at a time per process (the constructor waits); autograd runs on the thread
// whose Scope is open, so that what it records, and in which order, is the model's alone.
#pragma once

#include <functional>
#include <memory>
#include <unordered_map>

#include "capture/ghost.h"
#include "capture/host_tensors.h"
#include "capture/interception.h"
#include "capture/known_values.h"
#include "capture/trace.h"
#include "graph/graph.h"
#include "kernels/device.h"

namespace shoal::capture {

/// What is recorded: one call of a model's forward (and backward), or the constructor of a described model,
/// which runs once, so that every tensor of the host is a constant to it.
enum class RecordingOf { kForward, kConstructor };

class Recording : public Interception {
 public:
  /// `device`: what it does in eager is recorded.
  Recording(RecordingOf what, kernels::Device& device);
  ~Recording() override;

  graph::Graph& graph() { return graph_; }
  const graph::Graph& graph() const { return graph_; }
  /// The one that records now; null when none does.
  static Recording* active();
  kernels::Device& device() const { return device_; }

  const std::shared_ptr<Origin>& origin() const { return origin_; }
  void set_phase(graph::Phase phase) { phase_ = phase; }

  /// The graph is going to be divided: a layer that eager gives to one kernel for which there is no rule comes
  /// apart into operators that have one.
  void set_comes_apart(bool on) { comes_apart_ = on; }
  bool comes_apart() const { return comes_apart_; }

  /// at::equal of two tensors of three dims that are not known to be the same may answer no: the model has
  /// attention, which computes the same either way (host_reads.h).
  void set_unlike_queries(bool allowed) { unlike_queries_ = allowed; }

  /// A new input of the graph, as the wrapped ghost that the model's code sees.
  at::Tensor add_input(graph::InputKind kind, const std::string& name, const graph::TensorType& type);
  /// The same for a tensor of the module, which it then stands for.
  at::Tensor add_twin(graph::InputKind kind, const std::string& name, const at::Tensor& original,
                      const graph::TensorType& type);

  /// The Value of a tensor: a ghost's own; a tensor of the host becomes a constant of the graph.
  graph::ValueId value_of(const at::Tensor&);

  /// The numbers of a tensor for the host, on which they are known (known_values.h); undefined when they are
  /// not. Later calls are compared by what they depend on.
  at::Tensor read(const at::Tensor&);

  /// Code of ours made a tensor of the host for this call: its numbers are constants.
  void note_made(const at::Tensor& tensor) { hosts_.note_made(tensor); }

  /// Throws InputError when forward changed a tensor that lives outside of the module.
  void check_externals() const { hosts_.check_externals(); }

  /// When the call is over: lets go of all that it made. Ghosts still alive afterwards are kept by the model's
  /// code, or by the trace; what can be known of their numbers stays with them.
  void leave();

  /// What the model's code asks for, in forward.
  Trace& trace() { return *trace_; }
  std::shared_ptr<Trace> take_trace() { return std::move(trace_); }

  /// As Interception::Scope, and writes become functional.
  class Scope {
   public:
    Scope();
    ~Scope();

   private:
    bool reapply_views_before_;
    AutogradOnThisThread one_thread_;
    c10::impl::IncludeDispatchKeyGuard functionalize_;
    Interception::Scope intercept_;
  };

  void record(const c10::OperatorHandle&, torch::jit::Stack*);  // for the boxed function only
  void call(const c10::OperatorHandle&, torch::jit::Stack*) override;

 protected:
  at::Tensor resolve(const at::Tensor& tensor, bool is_written) override;
  void settle(const c10::OperatorHandle&, torch::jit::Stack&, size_t first) override;
  void note_results(const torch::jit::Stack&, size_t count) override;

 private:
  friend class HostTensors;
  at::Tensor new_ghost(const graph::TensorType&, graph::ValueId);
  c10::IValue result_of(const c10::IValue& meta, graph::Node&);
  at::Tensor ghost_of_constant(const at::Tensor& numbers);
  void keep_sizes(const torch::jit::Stack&, size_t first);
  bool answer_on_host(const c10::OperatorHandle&, const std::string& name, torch::jit::Stack&);
  bool infer_from_known_mask(const std::string& name, c10::ArrayRef<c10::IValue> arguments,
                             torch::jit::Stack& metas);
  bool answer_equal(const at::Tensor& a, const at::Tensor& b);
  void add_constant(graph::ValueId, const at::Tensor& numbers);

  kernels::Device& device_;
  const RecordingOf what_;
  const std::shared_ptr<Origin> origin_;
  graph::Graph graph_;
  graph::Phase phase_ = graph::Phase::kForward;
  bool comes_apart_ = false;
  int num_random_ = 0;
  std::vector<at::Tensor> kept_;  // sizes() of a functional wrapper points into the value that it has then
  bool unlike_queries_ = false;
  std::shared_ptr<Trace> trace_ = std::make_shared<Trace>();
  KnownValues known_values_{graph_};
  HostTensors hosts_{*this};
  std::unordered_map<const c10::TensorImpl*, graph::ValueId> constants_;
  std::vector<at::Tensor> constant_owners_;  // keeps the addresses in constants_ from being reused
};

}  // namespace shoal::capture
