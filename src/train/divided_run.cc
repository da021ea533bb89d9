#include "train/divided_run.h"

#include "base/text.h"
#include "graph/passes.h"
#include "lower/divide.h"
#include "plan/cut_map.h"
#include "plan/passes.h"
#include "shoal/error.h"

namespace shoal::train {
namespace {

constexpr double kLeastShare = 0.5;

std::string percent(double share) { return cat(static_cast<int64_t>(share * 100), " %"); }

void check_share(const graph::Graph& graph, const plan::CutMap& map) {
  if (map.divided_share >= kLeastShare) return;
  std::vector<std::string> better;
  for (int64_t chunks : {2, 3, 4, 5, 6, 7, 8, 12, 16})
    if (plan::make_cut_map(graph, chunks).divided_share >= kLeastShare) better.push_back(cat(chunks));
  throw InputError(cat(
      "trainer - tensor_chunks: got ", map.parts, ", which divides only ", percent(map.divided_share),
      " of the model's operations: too few of its sizes (heads, widths, channels, vocabulary) are multiples "
      "of it; ",
      better.empty() ? "none divides half of them, use 1"
                     : cat("these divide more than half: ", join(better, ", "))));
}

}  // namespace

DividedRun divide_run(graph::Graph captured, int64_t chunks, const std::map<std::string, graph::Cut>* fixed) {
  if (chunks == 1) return {std::move(captured), ""};
  const graph::Graph opened = graph::renumber(
      graph::remove_dead_code(plan::split_biases(plan::open_vocabulary(std::move(captured)))));
  graph::verify(opened, "after split_biases");
  const plan::CutMap map = plan::make_cut_map(opened, chunks, fixed);
  if (fixed == nullptr) check_share(opened, map);
  DividedRun run{lower::divide(opened, map), plan::print(opened, map)};
  graph::verify(run.graph, "after divide");
  return run;
}

}  // namespace shoal::train
