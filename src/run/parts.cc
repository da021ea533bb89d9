#include "run/parts.h"

#include <ATen/ops/stack.h>

namespace shoal::run {

at::Tensor take_part(const at::Tensor& whole, const graph::Cut& cut, int64_t parts, int part) {
  std::vector<int64_t> seen = whole.sizes().vec(), shape = seen;
  const auto dim = static_cast<size_t>(cut.dim);
  const int64_t rest = seen[dim] / (cut.outer * parts);
  shape[dim] = cut.outer * rest;
  seen[dim] = cut.outer;
  seen.insert(seen.begin() + cut.dim + 1, {parts, rest});
  return whole.reshape(seen).select(cut.dim + 1, part).reshape(shape);
}

at::Tensor join_parts(const std::vector<at::Tensor>& parts, const graph::Cut& cut) {
  std::vector<int64_t> seen = parts.at(0).sizes().vec(), shape = seen;
  const auto dim = static_cast<size_t>(cut.dim);
  shape[dim] *= std::ssize(parts);
  seen[dim] = cut.outer;
  seen.insert(seen.begin() + cut.dim + 1, parts[0].size(cut.dim) / cut.outer);
  std::vector<at::Tensor> views;
  for (const at::Tensor& part : parts) views.push_back(part.reshape(seen));
  return at::stack(views, cut.dim + 1).reshape(shape);
}

}  // namespace shoal::run
