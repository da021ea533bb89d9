#include "lower/node_cost.h"

#include "ops/divide.h"

namespace shoal::lower {

double seconds_of(const graph::Graph& graph, const graph::Node& node) {
  constexpr double kFlopsPerSecond = 100e9, kBytesPerSecond = 10e9;
  if (ops::costs_nothing(graph, node)) return 0;
  const ops::Cost cost = ops::cost(graph, node);
  return cost.flops / kFlopsPerSecond + cost.bytes / kBytesPerSecond;
}

}  // namespace shoal::lower
