// The one place where an operator's name becomes LibTorch's operator, and what its schema says.
#pragma once

#include <ATen/core/dispatch/Dispatcher.h>

#include <string>

#include "graph/graph.h"

namespace shoal::graph {

/// "aten::add.Tensor", "aten::mm".
std::string operator_text(const c10::OperatorName&);

/// Throws InputError when LibTorch knows no operator of this name.
c10::OperatorHandle operator_handle(const std::string& name);

/// Whether the node's result lies in the memory of its first argument, by the operator's schema. (What a rule
/// calls a view costs nothing, which is another question: ops::costs_nothing.)
bool is_view(const Node&);
/// The argument in whose memory the node's results lie: of a view, and of one that LibTorch promises nobody to see as
/// such, of which the schema says nothing. kNoValue: they have memory of their own.
ValueId memory_source(const Node&);

}  // namespace shoal::graph
