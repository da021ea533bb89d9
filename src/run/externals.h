// The numbers of now of a graph's externals: tensors that live outside of the model (docs/capture.md).
#pragma once

#include <ATen/core/TensorBody.h>

#include <vector>

#include "graph/graph.h"
#include "kernels/device.h"
#include "run/live_tensors.h"

namespace shoal::run {

/// Belongs to the World's thread.
class Externals {
 public:
  /// All are kept by reference and must outlive this.
  Externals(const graph::Graph& graph, LiveTensors& live, kernels::Device& device);
  Externals(const Externals&) = delete;
  Externals& operator=(const Externals&) = delete;

  /// Before a step or an evaluation, on every device: takes the numbers as they are now. Throws InputError when
  /// a tensor has none, or another type than the graph was captured for.
  void bind();
  /// The value of input `input` of the graph since bind().
  at::Tensor value(size_t input) const;

 private:
  struct External {
    size_t input;
    at::Tensor original, value;
  };

  const graph::Graph& graph_;
  LiveTensors& live_;
  kernels::Device& device_;
  std::vector<External> all_;
};

}  // namespace shoal::run
