#include "graph/passes.h"

namespace shoal::graph {

Graph canonicalize(Graph graph) {
  struct Pass {
    const char* name;
    Graph (*run)(Graph);
  };
  static constexpr Pass kPasses[] = {
      {"split_gradient_contributions", split_gradient_contributions},
      {"widen_embedding_gradients", widen_embedding_gradients},
      {"remove_dead_code", remove_dead_code},
      {"infer_scopes", infer_scopes},
      {"renumber", renumber},
  };
  verify(graph, "as captured");
  for (const Pass& pass : kPasses) {
    graph = pass.run(std::move(graph));
    verify(graph, std::string("after ") + pass.name);
  }
  return graph;
}

}  // namespace shoal::graph
