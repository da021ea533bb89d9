#include "numerics/divided_run.h"

#include <algorithm>

#include "base/text.h"
#include "graph/passes.h"
#include "graph/run_passes.h"
#include "numerics/cut_map.h"
#include "numerics/divide.h"
#include "numerics/passes.h"
#include "shoal/error.h"

namespace shoal::numerics {
namespace {

using graph::Bits;

constexpr double kLeastShare = 0.5;

std::string percent(double share) { return cat(static_cast<int64_t>(share * 100), " %"); }

// The operators without a rule that make up the most of the operations.
std::string print_largest(std::vector<WithoutRule> all) {
  constexpr size_t kNamed = 3;
  std::stable_sort(all.begin(), all.end(), [](const auto& a, const auto& b) { return a.share > b.share; });
  std::vector<std::string> names;
  for (size_t i = 0; i < std::min(all.size(), kNamed); ++i) names.push_back(print(all[i]));
  if (all.size() > kNamed) names.push_back(cat(all.size() - kNamed, " more"));
  return join(names, ", ");
}

void check_share(const graph::Graph& graph, const CutMap& map) {
  if (map.divided_share >= kLeastShare) return;
  const std::string begin = cat("trainer - tensor_chunks: got ", map.parts, ", which divides only ",
                                percent(map.divided_share), " of the model's operations: ");
  double without_rule = 0;
  for (const WithoutRule& found : map.without_rule) without_rule += found.share;
  if (1 - without_rule < kLeastShare)
    throw InputError(cat(begin, "operators without a rule are computed whole, and there are ",
                         print_largest(map.without_rule),
                         "; give them rules with shoal::register_rule (docs/adding_an_operator.md), "
                         "or use 1"));
  std::vector<std::string> better;
  for (int64_t chunks : {2, 3, 4, 5, 6, 7, 8, 12, 16})
    if (make_cut_map(graph, chunks).divided_share >= kLeastShare) better.push_back(cat(chunks));
  throw InputError(cat(
      begin, "too few of its sizes (heads, widths, channels, vocabulary) are multiples of it; ",
      better.empty() ? "none divides half of them, use 1"
                     : cat("these divide more than half: ", join(better, ", ")),
      map.without_rule.empty() ? ""
                               : cat("; operators without a rule are computed whole: ",
                                     print_largest(map.without_rule))));
}

}  // namespace

DividedRun divide_run(graph::Graph captured, int64_t chunks, const std::map<std::string, graph::Cut>* fixed) {
  if (chunks == 1) return {std::move(captured), ""};
  const graph::Graph opened =
      graph::run_passes(std::move(captured), {{"open_vocabulary", Bits::kChanged, open_vocabulary},
                                              {"split_biases", Bits::kChanged, split_biases},
                                              {"remove_dead_code", Bits::kPreserved, graph::remove_dead_code},
                                              {"renumber", Bits::kPreserved, graph::renumber}});
  const CutMap map = make_cut_map(opened, chunks, fixed);
  if (fixed == nullptr) check_share(opened, map);
  const auto divide_as_mapped = [&](const graph::Graph& whole) { return divide(whole, map); };
  return {graph::run_passes(opened, {{"divide", Bits::kChanged, divide_as_mapped}}), print(opened, map)};
}

}  // namespace shoal::numerics
