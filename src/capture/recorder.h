// Records every operator that reaches a ghost tensor as a Node of a Graph.
//
// One boxed function is registered on PrivateUse1 for every operator that is not composite. While a Recording
// is active, that function appends nodes to its graph; autograd and functionalization run above it as they
// always do. Threads: one Recording at a time per process (the constructor waits); autograd's own threads
// record into the same one.
#pragma once

#include <functional>
#include <mutex>
#include <unordered_map>

#include "capture/ghost.h"
#include "capture/host_tensors.h"
#include "capture/interception.h"
#include "capture/known_values.h"
#include "graph/graph.h"

namespace shoal::capture {

/// What is recorded: one call of a model's forward (and backward), or the constructor of a described model,
/// which runs once, so that every tensor of the host is a constant to it.
enum class RecordingOf { kForward, kConstructor };

class Recording : public Interception {
 public:
  explicit Recording(RecordingOf what);
  ~Recording() override;

  graph::Graph& graph() { return graph_; }
  const graph::Graph& graph() const { return graph_; }
  const std::shared_ptr<Origin>& origin() const { return origin_; }
  void set_phase(graph::Phase phase) { phase_ = phase; }

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

  /// Throws InputError when forward changed a tensor that lives outside of the module.
  void check_externals() const { hosts_.check_externals(); }

  /// When the call is over: lets go of all that it made. Ghosts still alive afterwards are kept by the model's
  /// code; what is known of their numbers stays with them. Returns whether the code keeps anything.
  bool leave();

  /// As Interception::Scope, and writes become functional.
  class Scope {
   public:
    Scope();
    ~Scope();

   private:
    bool reapply_views_before_;
    c10::impl::IncludeDispatchKeyGuard functionalize_;
    Interception::Scope intercept_;
  };

  void record(const c10::OperatorHandle&, torch::jit::Stack*);  // for the boxed function only

 protected:
  at::Tensor resolve(const at::Tensor& tensor, bool is_written) override;
  void settle(const c10::OperatorHandle&, torch::jit::Stack&, size_t first) override;
  void note_results(const torch::jit::Stack&, size_t count) override;

 private:
  friend class HostTensors;
  c10::IValue ghost_of(const c10::IValue& meta, graph::Node&);
  at::Tensor ghost_of_constant(const at::Tensor& numbers);
  bool answer_on_host(const c10::OperatorHandle&, const std::string& name, torch::jit::Stack&);
  bool infer_from_known_mask(const std::string& name, c10::ArrayRef<c10::IValue> arguments,
                             torch::jit::Stack& metas);
  bool answer_equal(const at::Tensor& a, const at::Tensor& b);
  void add_constant(graph::ValueId, const at::Tensor& numbers);

  const RecordingOf what_;
  const std::shared_ptr<Origin> origin_;
  std::mutex mutex_;  // autograd's threads record too
  graph::Graph graph_;
  graph::Phase phase_ = graph::Phase::kForward;
  int num_random_ = 0;
  bool unlike_queries_ = false;
  KnownValues known_values_{graph_};
  HostTensors hosts_{*this};
  std::unordered_map<const c10::TensorImpl*, graph::ValueId> constants_;
  std::vector<at::Tensor> constant_owners_;  // keeps the addresses in constants_ from being reused
};

}  // namespace shoal::capture
