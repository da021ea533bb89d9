// A rule on the shapes of one node: which dims are the same index, and which of them come apart.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "graph/graph.h"
#include "ops/divide.h"
#include "ops/rules.h"

namespace shoal::ops {

/// An index that runs through the node's tensors.
struct Factor {
  Symbol symbol;
  int16_t index;      // of a block's dims from the right, or of the dims that a place names; 0 for a letter
  int64_t size;       // of the largest dim that carries it
  bool apart = true;  // false: whole, or its dims do not agree
  bool fed = false;   // an input or a size argument carries it: without, no part of it can be asked for
};

struct BoundDim {
  int factor = -1;       // into Binding::factors; -1: none
  int64_t times = 1;     // the dim is so many runs of the factor
  bool carries = false;  // false: of size 1, the same for every index
};

struct BoundTensor {
  const Term* term;
  int term_index;                     // of the inputs or of the outputs
  const std::vector<int64_t>* shape;  // null: no tensor there
  std::vector<BoundDim> dims;
};

struct BoundSize {
  const SizeArgument* size;
  std::vector<int64_t> values;
  std::vector<BoundDim> dims;
};

struct Binding {
  const Form* form = nullptr;  // null: no form fits, the node is whole
  bool flat = false;           // its tensors are one row-major index
  std::vector<Factor> factors;
  std::vector<BoundTensor> inputs, outputs;  // as Division::inputs and outputs
  std::vector<BoundSize> sizes;
};

Binding bind(const Rule&, const graph::Graph&, const graph::Node&);

/// The division in which `factor` is cut with `outer`; nothing when it does not come apart so.
std::optional<Division> divide_factor(const Binding&, int factor, int64_t outer, int64_t parts);

// divide.h's functions, by a given rule.
std::optional<Division> divide(const Rule&, const graph::Graph&, const graph::Node&, Port, graph::Cut,
                               int64_t parts);
std::vector<Division> divisions(const Rule&, const graph::Graph&, const graph::Node&, int64_t parts);
std::optional<Division> pass_sums(const Rule&, const graph::Graph&, const graph::Node&,
                                  const std::vector<bool>& addends);
graph::Node local_node(const Rule&, const graph::Graph&, const graph::Node&, const Division&, int64_t parts,
                       int64_t part);
std::optional<Bias> bias_of(const Rule&, const graph::Graph&, const graph::Node&);
Cost cost(const Binding&, const graph::Graph&, const graph::Node&);

}  // namespace shoal::ops
