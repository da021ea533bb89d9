// Values of a graph that depend on neither batch nor parameters nor anything else that changes: made of
// factories, sizes and constants. Their numbers can be computed while the graph is still being captured. So can
// those of values that depend on externals as well, but they are the numbers of now.
#pragma once

#include <ATen/core/TensorBody.h>

#include <set>
#include <unordered_map>
#include <utility>
#include <vector>

#include "graph/graph.h"

namespace shoal::capture {

class KnownValues {
 public:
  /// `graph` grows; it is told of each new input and node.
  explicit KnownValues(const graph::Graph& graph) : graph_(graph) {}
  /// What `other` knows, of a copy of its graph.
  KnownValues(const KnownValues& other, const graph::Graph& graph)
      : graph_(graph), known_(other.known_), made_by_(other.made_by_), numbers_(other.numbers_) {}

  void add_input(const graph::Input&);
  void add_node(size_t node);

  /// An external that has no numbers here.
  void set_unknown(graph::ValueId id) { known_[static_cast<size_t>(id)] = Known::kNo; }

  /// For good.
  bool is_known(graph::ValueId id) const { return how_known(id) == Known::kAlways; }
  /// At least as externals are now.
  bool is_known_now(graph::ValueId id) const { return how_known(id) != Known::kNo; }
  /// Computed on the host, once. REQUIRES: is_known_now.
  at::Tensor numbers(graph::ValueId);
  /// The externals that it depends on.
  std::vector<at::Tensor> externals_of(graph::ValueId) const;

  /// Whether the two are made alike: by the same operators from the same values, without random numbers.
  bool are_alike(graph::ValueId, graph::ValueId) const;

 private:
  enum class Known { kNo, kNow, kAlways };
  using Pairs = std::set<std::pair<graph::ValueId, graph::ValueId>>;
  const graph::Node* maker(graph::ValueId) const;
  bool are_alike(graph::ValueId, graph::ValueId, Pairs& proved) const;

  Known how_known(graph::ValueId) const;
  std::set<int64_t> nodes_before(graph::ValueId, std::vector<graph::ValueId>* inputs) const;

  const graph::Graph& graph_;
  std::vector<Known> known_;      // by ValueId
  std::vector<int64_t> made_by_;  // by ValueId: position of the node; -1: an input
  std::unordered_map<graph::ValueId, at::Tensor> numbers_;
};

}  // namespace shoal::capture
