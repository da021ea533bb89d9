// Who makes and reads each value of a graph, and what that costs: what the choice of a cut map looks at.
// (An opened graph: no bias is added inside of a product, passes.h.)
#pragma once

#include <map>
#include <optional>
#include <set>
#include <vector>

#include "graph/graph.h"
#include "ops/divide.h"

namespace shoal::numerics {

struct Use {
  size_t node;
  ops::Port port;
};

using graph::at;

/// Keeps the graph by reference.
struct Dataflow {
  Dataflow(const graph::Graph& graph, int64_t parts);

  double bytes(graph::ValueId id) const;
  graph::ValueId value_at(size_t node, ops::Port port) const;
  std::optional<ops::Division> divide(size_t node, ops::Port port, graph::Cut cut) const;
  /// The division of a node that is not divided.
  ops::Division whole(size_t node) const;
  /// How a node passes partial sums on, when all that it reads are such: as a view, which costs nothing, or
  /// where it makes one of several (the gradients of a value that is used several times). None is rounded by
  /// the way.
  std::optional<ops::Division> passes_sums(size_t node) const;

  const graph::Graph& graph;
  const int64_t parts;
  std::vector<std::vector<Use>> uses;               // by value
  std::vector<std::vector<graph::ValueId>> inputs;  // by node
  std::vector<ops::Cost> costs;                     // by node
  std::vector<bool> costs_nothing;                  // by node: it only looks at its input otherwise
  std::vector<graph::ValueId> roots;                // by value: what it is a view of, or itself
  std::vector<graph::ValueId> sums;                 // by value: the sum that it is only a part of, or itself
  std::set<graph::ValueId> read_once;               // by a view or a sum
  std::vector<bool> is_weight;  // by value: a trained parameter, or made of such alone (its transpose)
  std::vector<graph::ValueId> parameters;
  std::map<graph::ValueId, std::vector<graph::ValueId>> twins;  // a parameter and its gradients are cut alike

 private:
  void find_uses();
  void find_weights();
  void find_sums();
};

}  // namespace shoal::numerics
