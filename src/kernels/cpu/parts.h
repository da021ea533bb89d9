// How tensors lie in memory. A parameter and its parts (graph::Cut): the cut dim is seen as [outer, parts, rest]; part p is index p in
// the middle.
#pragma once

#include <ATen/core/TensorBody.h>

#include <vector>

#include "graph/graph.h"

namespace shoal::kernels {

/// The same numbers, laid out anew. Indices that share an element have the same number.
at::Tensor restride(const at::Tensor& x, at::IntArrayRef strides);

/// Part `part` of `parts` of a whole tensor: a copy, contiguous.
at::Tensor take_part(const at::Tensor& whole, const graph::Cut&, int64_t parts, int part);

/// The whole tensor of all its parts, in order.
at::Tensor join_parts(const std::vector<at::Tensor>& parts, const graph::Cut&);

}  // namespace shoal::kernels
