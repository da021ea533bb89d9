// How tensors lie in memory: what Device promises under these names. graph::Cut sees the cut dim as [outer, parts, rest];
// part p is index p in the middle.
#pragma once

#include <ATen/core/TensorBody.h>

#include <vector>

#include "graph/graph.h"

namespace shoal::kernels {

at::Tensor restride(const at::Tensor& x, at::IntArrayRef strides);
at::Tensor take_part(const at::Tensor& whole, const graph::Cut&, int64_t parts, int part);
at::Tensor join_parts(const std::vector<at::Tensor>& parts, const graph::Cut&);

}  // namespace shoal::kernels
