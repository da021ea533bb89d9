// What nodes cost: to balance stages, to order the passes of a schedule, and to choose what to compute twice. Costs
// decide where work is done, never what comes out.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "graph/graph.h"

namespace shoal::lower {

/// Nodes that compute the same: one operator on tensors of the same shapes and strides, with the same settings.
struct KindOfNode {
  std::string text;
  graph::Graph alone;  // one such node; its tensors are the batch
};
/// Those of a graph that cost anything, each once, in the order in which they first come.
std::vector<KindOfNode> kinds_of_nodes(const graph::Graph&);

/// Seconds on a device: measured (run/measure_nodes.h), or by the operators' rules, of which only proportions count.
class NodeCosts {
 public:
  /// By the rules.
  NodeCosts() = default;
  /// Measured: by KindOfNode::text.
  explicit NodeCosts(std::map<std::string, double> measured) : measured_(std::move(measured)) {}

  /// By node of the graph. Of a graph with kinds that were not measured (of other shapes, say) all are by the rules.
  std::vector<double> of(const graph::Graph&) const;
  bool is_measured() const { return !measured_.empty(); }

 private:
  std::map<std::string, double> measured_;
};

}  // namespace shoal::lower
