// The one place where an operator's name becomes LibTorch's operator.
#pragma once

#include <ATen/core/dispatch/Dispatcher.h>

#include <string>

namespace shoal::graph {

/// "aten::add.Tensor", "aten::mm".
std::string operator_text(const c10::OperatorName&);

/// Throws InputError when LibTorch knows no operator of this name.
c10::OperatorHandle operator_handle(const std::string& name);

}  // namespace shoal::graph
