// Result shapes of operators for which LibTorch has no Meta kernel. One row per operator, tables in
// shape_rules.cc.
#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/core/stack.h>

#include <string>

namespace shoal::capture {

/// Replaces the operator's arguments on the stack (tensors on Meta) by its results (on Meta). Returns false
/// when there is no row.
bool apply_shape_rule(const std::string& op, torch::jit::Stack& stack);

/// Of an operator that works element by element: on Meta, broadcast, laid out in memory as the CPU's kernels
/// do.
at::Tensor pointwise_result(at::TensorList inputs, at::ScalarType dtype);

}  // namespace shoal::capture
