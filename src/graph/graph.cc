#include "graph/graph.h"

#include <algorithm>
#include <iterator>

namespace shoal::graph {

int64_t TensorType::numel() const {
  int64_t n = 1;
  for (int64_t size : shape) n *= size;
  return n;
}

int64_t TensorType::bytes() const { return numel() * static_cast<int64_t>(c10::elementSize(dtype)); }

bool TensorType::is_contiguous() const {
  if (numel() == 0) return true;
  int64_t expected = 1;
  for (size_t dim = shape.size(); dim-- > 0;) {
    if (shape[dim] != 1 && strides[dim] != expected) return false;
    expected *= shape[dim];
  }
  return true;
}

TensorType type_of(const at::Tensor& tensor) {
  return {tensor.scalar_type(), tensor.sizes().vec(), tensor.strides().vec()};
}

TensorType contiguous_type(c10::ScalarType dtype, std::vector<int64_t> shape) {
  std::vector<int64_t> strides(shape.size());
  int64_t step = 1;
  for (size_t dim = shape.size(); dim-- > 0;) {
    strides[dim] = step;
    step *= std::max<int64_t>(shape[dim], 1);
  }
  return {dtype, std::move(shape), std::move(strides)};
}

TensorType contiguous_type(const at::Tensor& tensor) {
  return contiguous_type(tensor.scalar_type(), tensor.sizes().vec());
}

std::vector<ValueId> outputs(const Graph& graph) {
  std::vector<ValueId> all = graph.results;
  const auto add = [&](const std::vector<ValueId>& ids) {
    std::ranges::copy_if(ids, std::back_inserter(all), [](ValueId id) { return id != kNoValue; });
  };
  for (const Gradient& gradient : graph.gradients) add(gradient.contributions);
  add(graph.buffer_update.observed);
  return all;
}

std::vector<size_t> makers(const Graph& graph) {
  std::vector<size_t> made_by(graph.values.size(), kNoNode);
  for (size_t n = 0; n < graph.nodes.size(); ++n)
    for (const ValueId id : graph.nodes[n].results)
      if (id != kNoValue) made_by[static_cast<size_t>(id)] = n;
  return made_by;
}

}  // namespace shoal::graph
