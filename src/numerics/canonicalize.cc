#include "graph/passes.h"
#include "graph/run_passes.h"
#include "numerics/passes.h"

namespace shoal::numerics {

using graph::Bits;
using graph::Graph;

Graph canonicalize(Graph graph) {
  static const std::vector<graph::Pass> kPasses = {
      {"split_gradient_contributions", Bits::kChanged, split_gradient_contributions},
      {"widen_embedding_gradients", Bits::kChanged, widen_embedding_gradients},
      {"remove_dead_code", Bits::kPreserved, graph::remove_dead_code},
      {"infer_scopes", Bits::kPreserved, graph::infer_scopes},
      {"renumber", Bits::kPreserved, graph::renumber},
  };
  graph::verify(graph, "as captured");
  graph = graph::run_passes(std::move(graph), kPasses);
  if (auto& update = graph.buffer_update.update) update = std::make_shared<Graph>(canonicalize(*update));
  return graph;
}

}  // namespace shoal::numerics
