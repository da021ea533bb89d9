// Values of a graph that depend on neither batch nor parameters nor anything else that changes: made of
// factories, sizes and constants. Their numbers can be computed while the graph is still being captured.
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

  void add_input(const graph::Input&);
  void add_node(size_t node);

  bool is_known(graph::ValueId) const;
  /// Computed on the CPU, once. REQUIRES: is_known.
  at::Tensor numbers(graph::ValueId);

  /// Whether the two are made alike: by the same operators from the same values, without random numbers.
  bool are_alike(graph::ValueId, graph::ValueId) const;

 private:
  using Pairs = std::set<std::pair<graph::ValueId, graph::ValueId>>;
  const graph::Node* maker(graph::ValueId) const;
  bool are_alike(graph::ValueId, graph::ValueId, Pairs& proved) const;

  const graph::Graph& graph_;
  std::vector<bool> known_;       // by ValueId
  std::vector<int64_t> made_by_;  // by ValueId: position of the node; -1: an input
  std::unordered_map<graph::ValueId, at::Tensor> numbers_;
};

}  // namespace shoal::capture
