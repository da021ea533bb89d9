// Result shapes of operators for which LibTorch has no Meta kernel, laid out in memory as the CPU's kernels do.
// One row per operator, tables in shape_rules.cc.
#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/core/stack.h>

#include <string>

namespace shoal::kernels {

/// Replaces the operator's arguments on the stack (tensors on Meta) by its results (on Meta). Returns false
/// when there is no row.
bool apply_shape_rule(const std::string& op, torch::jit::Stack& stack);

}  // namespace shoal::kernels
