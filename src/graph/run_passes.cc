#include "graph/run_passes.h"

#include "base/text.h"
#include "shoal/error.h"

namespace shoal::graph {
namespace {

std::vector<std::string> output_types(const Graph& graph) {
  std::vector<std::string> types;
  for (ValueId id : outputs(graph)) types.push_back(print(graph.type(id)));
  return types;
}

}  // namespace

Graph run_passes(Graph graph, const std::vector<Pass>& passes) {
  for (const Pass& pass : passes) {
    const bool preserves = pass.bits == Bits::kPreserved;
    const std::vector<std::string> before = preserves ? output_types(graph) : std::vector<std::string>();
    graph = pass.run(std::move(graph));
    verify(graph, "after " + pass.name);
    if (!preserves) continue;
    if (const auto after = output_types(graph); after != before)
      throw JobError(cat("graph after ", pass.name, " - outputs: got ", join(after, ", "), ", want ",
                         join(before, ", "), ", since the pass preserves bits; this is a defect of the pass"));
  }
  return graph;
}

}  // namespace shoal::graph
