// The cut map: how a graph comes apart in C parts, from (graph, C) alone (docs/numerics.md, "the cut map").
//
// Every value has a home: cut along one dim, or whole. Every node has a division, or runs whole; where a
// division wants another placement than a value's home, the value is converted (numerics/divide.h). The choices
// below decide how fast a divided run is; that it is right does not depend on them.
//
//   1. Dims that must be cut together form components (flood): cutting up.weight by rows cuts the activation
//   behind it,
//      and down.weight by columns.
//   2. Components that divide weights are taken first, those with the most work for each byte that must move
//   before the
//      others: attention by heads, MLP by width, embedding and loss by vocabulary, convolutions by channels.
//   3. What lies between takes the components that divide the most memory traffic: usually the batch's
//   tokens.
//   4. Each node takes the division that costs least, given the homes.
// An operator without a rule is whole: each device of a group computes it alike, from whole inputs.
// Source of the idea: Korthikanti et al., "Reducing activation recomputation in large transformer models",
// 2022, found by hand what 2 and 3 find from the rules; propagation as in Xu et al., "GSPMD", 2021.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "graph/graph.h"
#include "ops/divide.h"

namespace shoal::numerics {

/// The nodes of one operator that are whole because no rule divides them.
struct WithoutRule {
  std::string op;
  bool fits_others = false;  // it has a rule, which does not fit these nodes' arguments
  int64_t nodes = 0;
  double share = 0;  // of the operations of the graph
};

struct CutMap {
  int64_t parts = 1;
  std::vector<std::optional<graph::Cut>> homes;         // by value; nothing: whole
  std::vector<std::optional<ops::Division>> divisions;  // by node; nothing: whole
  double divided_share = 0;                             // of the operations (FLOPs) of the graph
  std::vector<WithoutRule> without_rule;                // by operator
};

/// `fixed`: the cuts of parameters that another graph of this run has chosen (evaluation follows training);
/// without it they are chosen. Deterministic. With parts = 1 everything is whole.
CutMap make_cut_map(const graph::Graph&, int64_t parts,
                    const std::map<std::string, graph::Cut>* fixed = nullptr);

/// "my::op (3 nodes, 2.1 %)"
std::string print(const WithoutRule&);
/// How many nodes are divided, which operators have no rule, and one line per parameter: for plan.txt.
std::string print(const graph::Graph&, const CutMap&);

}  // namespace shoal::numerics
