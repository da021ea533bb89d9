// Records every operator that reaches a ghost tensor as a Node of a Graph.
//
// One boxed function is registered on PrivateUse1 for every operator that is not composite. While a Recording
// is active, that function appends nodes to its graph; autograd and functionalization run above it as they
// always do. Threads: one Recording at a time per process (the constructor waits); autograd runs on the thread
// whose Scope is open, so that what it records, and in which order, is the model's alone.
#pragma once

#include <ATen/core/ivalue.h>
#include <c10/core/impl/LocalDispatchKeySet.h>

#include <functional>
#include <mutex>
#include <unordered_map>

#include "graph/graph.h"

namespace shoal::capture {

/// Rewrites the arguments of a model's operators before autograd sees them, while one of its Scopes is open
/// on this thread. One exists at a time per process: the constructor waits.
class Interception {
 public:
  /// A factory that names no device makes its tensor on `factory_device`.
  explicit Interception(c10::Device factory_device);
  virtual ~Interception();
  Interception(const Interception&) = delete;
  Interception& operator=(const Interception&) = delete;

  /// In operators of the model, `original` (a parameter or buffer, wherever it lives) is replaced by `twin`.
  void substitute(const at::Tensor& original, const at::Tensor& twin);

  /// Cast the inputs of losses to fp32 when they are bf16 (docs/numerics.md, "bf16").
  void set_fp32_losses(bool on) { fp32_losses_ = on; }

  /// Where the model's own code runs: twins replace parameters, factories obey.
  class Scope {
   private:
    c10::impl::IncludeDispatchKeyGuard deferred_{c10::DispatchKey::DeferredInit};
  };

  void rewrite_arguments(const c10::OperatorHandle&, torch::jit::Stack*);  // for the boxed function only

 protected:
  /// What stands for a tensor of the host among the arguments of a random operator.
  virtual at::Tensor ghost_of(const at::Tensor& tensor) { return tensor; }

 private:
  std::unique_lock<std::mutex> only_one_;
  c10::Device factory_device_;
  bool fp32_losses_ = false;
  std::unordered_map<const c10::TensorImpl*, at::Tensor> twins_;
};

class Recording : public Interception {
 public:
  Recording();
  ~Recording() override;

  /// The one that records now; null when none does.
  static const Recording* active();

  graph::Graph& graph() { return graph_; }
  const graph::Graph& graph() const { return graph_; }
  void set_phase(graph::Phase phase) { phase_ = phase; }

  /// The graph is going to be divided: a layer that eager gives to one kernel for which there is no rule comes
  /// apart into operators that have one.
  void set_comes_apart(bool on) { comes_apart_ = on; }
  bool comes_apart() const { return comes_apart_; }

  /// A new input of the graph, as the wrapped ghost that the model's code sees.
  at::Tensor add_input(graph::InputKind kind, const std::string& name, const graph::TensorType& type);

  /// The Value of a tensor: a ghost's own; a tensor of the host becomes a constant of the graph.
  graph::ValueId value_of(const at::Tensor&);

  /// As Interception::Scope, and writes become functional.
  class Scope {
   public:
    Scope();
    ~Scope();

   private:
    bool reapply_views_before_, multithreading_before_;
    c10::impl::IncludeDispatchKeyGuard functionalize_;
    Interception::Scope intercept_;
  };

  // For the boxed functions only. The second keeps what an operator may take from its arguments' wrappers.
  void record(const c10::OperatorHandle&, torch::jit::Stack*);
  void keep_sizes(const c10::OperatorHandle&, const torch::jit::Stack&);

 private:
  at::Tensor ghost_of(const at::Tensor&) override;
  c10::IValue result_of(const c10::IValue& meta, graph::Node&);
  at::Tensor new_ghost(const graph::TensorType&, graph::ValueId);

  const uint64_t number_;  // told from every other recording of the process
  graph::Graph graph_;
  graph::Phase phase_ = graph::Phase::kForward;
  bool comes_apart_ = false;
  int num_random_ = 0;
  std::vector<at::Tensor> kept_;  // sizes() of a functional wrapper points into the value that it has then
  std::unordered_map<const c10::TensorImpl*, graph::ValueId> constants_;
  std::vector<at::Tensor> constant_owners_;  // keeps the addresses in constants_ from being reused
};

}  // namespace shoal::capture
