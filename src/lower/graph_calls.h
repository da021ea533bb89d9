// Which call of the model each node belongs to, as autograd tells, and which parameters forward reads where.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "graph/graph.h"

namespace shoal::lower {

/// By node of backward: the node of forward that it belongs to; kNoNode where autograd did not say. Of the nodes of
/// one call (what it is made of, how its inputs came together from parts) it is the one, none of our own if there is
/// another, that has most to do with what backward reads, or else with a parameter.
std::vector<size_t> forward_nodes(const graph::Graph&);

/// Parameters by value, and what only looks at one in another shape (the transpose that a linear layer reads): it is where
/// it is read.
struct ParameterValues {
  std::map<graph::ValueId, const std::string*> names;
  std::vector<bool> looks;  // by node

  explicit ParameterValues(const graph::Graph&);
};

/// Where forward first reads each parameter: the first node of the call that does, where backward has to do with it, since
/// what belongs to a call stays together (zeros that a batch norm begins with, a bias that is a node of its own).
std::map<std::string, size_t> first_reads(const graph::Graph&, const ParameterValues&);

}  // namespace shoal::lower
