#include "numerics/cut_map.h"

#include <algorithm>

#include "base/text.h"
#include "numerics/dataflow.h"
#include "numerics/divisions.h"
#include "numerics/homes.h"

namespace shoal::numerics {

namespace {

// What each node costs decides what was gained, and what could have been with more rules.
void count_operations(const Dataflow& flow, CutMap& map) {
  double all = 0, divided = 0;
  std::map<std::pair<std::string, bool>, WithoutRule> without;
  for (size_t n = 0; n < flow.graph.nodes.size(); ++n) {
    all += flow.costs[n].flops;
    if (map.divisions[n]) divided += flow.costs[n].flops;
    const graph::Node& node = flow.graph.nodes[n];
    const ops::RuleFor rule = ops::rule_for(flow.graph, node);
    if (rule == ops::RuleFor::kNode) continue;
    const bool fits_others = rule == ops::RuleFor::kOtherArguments;
    WithoutRule& found = without[{node.op, fits_others}];
    found.op = node.op;
    found.fits_others = fits_others;
    ++found.nodes;
    found.share += flow.costs[n].flops;
  }
  map.divided_share = all > 0 ? divided / all : 0;
  for (auto& [key, found] : without) {
    found.share = all > 0 ? found.share / all : 0;
    map.without_rule.push_back(std::move(found));
  }
}

std::string percent(double share) { return cat(static_cast<int64_t>(share * 1000 + 0.5) / 10.0, " %"); }

}  // namespace

CutMap make_cut_map(const graph::Graph& graph, int64_t parts,
                    const std::map<std::string, graph::Cut>* fixed) {
  CutMap map;
  map.parts = parts;
  map.homes.resize(graph.values.size());
  map.divisions.resize(graph.nodes.size());
  if (parts == 1) return map;
  const Dataflow flow(graph, parts);
  map.homes = choose_homes(flow, fixed);
  map.divisions = choose_divisions(flow, map.homes);
  count_operations(flow, map);
  pass_partial_sums(flow, map.divisions);
  return map;
}

std::string print(const WithoutRule& found) {
  return cat(found.op, " (", found.nodes, found.nodes == 1 ? " node, " : " nodes, ", percent(found.share),
             found.fits_others ? "; it has a rule, which does not fit these arguments)" : ")");
}

std::string print(const graph::Graph& graph, const CutMap& map) {
  const auto divided =
      std::count_if(map.divisions.begin(), map.divisions.end(), [](auto& d) { return d.has_value(); });
  std::string text = cat("cut map: ", map.parts, " parts, ", divided, " of ", map.divisions.size(),
                         " nodes divided, ", percent(map.divided_share), " of the operations\n");
  if (!map.without_rule.empty())
    text += "  computed whole by each device of a group, since no rule divides them; give one with "
            "shoal::register_rule (docs/adding_an_operator.md):\n";
  for (const WithoutRule& found : map.without_rule) text += cat("    ", print(found), "\n");
  for (const graph::Input& input : graph.inputs) {
    if (input.kind != graph::InputKind::kParameter) continue;
    const auto& home = map.homes[at(input.value)];
    text += cat("  ", input.name, " ", graph::print(graph.type(input.value)), " ",
                home ? ops::print({ops::Placement::Kind::kShard, *home}) : "whole", "\n");
  }
  return text;
}

}  // namespace shoal::numerics
