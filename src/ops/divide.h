// How an operator may be divided: from its rule (rules.h), for the shapes of one node.
//
// All questions are about one axis of C equal parts; several axes are a product of such divisions. Of an
// operator without a rule nothing is known: there is no way to divide it, no sum passes it, it is no view.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "graph/graph.h"

namespace shoal::ops {

/// What each of the C parts of a tensor is.
struct Placement {
  enum class Kind { kReplicate, kShard, kPartialSum, kPartialMax, kPartialMin, kPartialLse };
  Kind kind = Kind::kReplicate;
  graph::Cut cut;  // of kShard
  friend bool operator==(const Placement&, const Placement&) = default;
};
/// "R", "S0", "S0/3" (outer 3), "P(sum)", "P(max)".
std::string print(const Placement&);

/// One way to divide a node: each part is computed from the parts of its inputs alone.
struct Division {
  std::string factor;              // the rule's letter, for people to read
  std::vector<Placement> inputs;   // by graph::for_each_input
  std::vector<Placement> outputs;  // by Node::results; kReplicate where there is none
  int added_after = -1;  // this input (a bias) is left out of the parts and added once to their sum; -1: none
  friend bool operator==(const Division&, const Division&) = default;
};

/// One of a node's tensors.
struct Port {
  bool output = false;
  int index = 0;  // into Division::inputs or outputs
};

/// The division in which the tensor at `port` is cut so; nothing when the operator needs that dim whole, or
/// some tensor's dim does not come apart in `parts`.
std::optional<Division> divide(const graph::Graph&, const graph::Node&, Port port, graph::Cut cut,
                               int64_t parts);

/// Every division of the node with outer = 1 in at least one tensor, each once.
std::vector<Division> divisions(const graph::Graph&, const graph::Node&, int64_t parts);

/// The division in which these inputs (by graph::for_each_input) are addends of sums and the others are
/// whole: each part computes an addend of every result. Nothing where sums do not pass the operator so.
std::optional<Division> pass_sums(const graph::Graph&, const graph::Node&, const std::vector<bool>& addends);

/// The node that computes one part: arguments that are sizes follow the parts' shapes, those that say where a
/// part begins follow `part`. Tensors keep their ids (the caller renames them).
graph::Node local_node(const graph::Graph&, const graph::Node&, const Division&, int64_t parts, int64_t part);

/// What an operator adds once to its result.
struct Bias {
  int input;                   // by graph::for_each_input
  graph::Node without;         // the node that does the rest
  std::vector<int64_t> shape;  // in which it broadcasts over the whole result 0: [o,1,1] for a convolution's
};
/// Nothing where the node has none.
std::optional<Bias> bias_of(const graph::Graph&, const graph::Node&);

/// The shape of a part. REQUIRES: the cut divides it.
std::vector<int64_t> part_shape(const std::vector<int64_t>& shape, graph::Cut cut, int64_t parts);
bool can_cut(const std::vector<int64_t>& shape, graph::Cut cut, int64_t parts);

/// What the undivided node costs, from the same rule. Where there is none it is unknown, and counts as one
/// operation for each byte read or written.
struct Cost {
  double flops = 0;  // multiplications and additions, each counted
  double bytes = 0;  // tensors read and written once
};
Cost cost(const graph::Graph&, const graph::Node&);

/// What there is a rule for: this node; its operator, with other arguments; or neither.
enum class RuleFor { kNode, kOtherArguments, kNone };
RuleFor rule_for(const graph::Graph&, const graph::Node&);

/// Whether the operator's rule says "view": the result is its input, seen otherwise.
bool costs_nothing(const graph::Graph&, const graph::Node&);
/// Whether the operator goes by places in its inputs' memory: of a view it may see what the view does not.
bool goes_by_memory(const graph::Graph&, const graph::Node&);
/// Whether an operator is a view that groups dims anew into sizes that it is given. Of parts it cannot
/// always be made; aten::reshape, with the same arguments, copies where it cannot.
bool regroups(const std::string& op);

}  // namespace shoal::ops
