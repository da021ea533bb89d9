// Numbers that a captured function draws.
#pragma once

#include <torch/torch.h>

#include <functional>

#include "capture/capture.h"
#include "kernels/cpu/cpu_device.h"
#include "run/frame.h"

namespace shoal::test {

/// A function of one tensor, captured once; each call draws with the key that it is given.
class Draws {
 public:
  using Function = std::function<torch::Tensor(const torch::Tensor& like)>;

  explicit Draws(const Function& function, const torch::Tensor& like)
      : like_(like),
        graph_(capture::capture_forward(
            kernels::cpu(), module_, [&](const Batch& batch) { return function(batch[0]); },
            std::vector{graph::type_of(like)}, Precision::kFP32)),
        compiled_(graph_, kernels::cpu()),
        frame_(compiled_) {}

  torch::Tensor operator()(kernels::RandomKey key) {
    std::vector<torch::Tensor> inputs;
    for (const graph::Input& input : graph_.inputs)
      inputs.push_back(input.kind == graph::InputKind::kBatch ? like_ : torch::Tensor());
    torch::Tensor result;
    frame_.run_all({.inputs = inputs, .random = key},
                   [&](int, const torch::Tensor& value) { result = value.clone(); });
    return result;
  }

  const graph::Graph& graph() const { return graph_; }

 private:
  torch::nn::Module module_;
  torch::Tensor like_;
  graph::Graph graph_;
  run::CompiledGraph compiled_;
  run::Frame frame_;
};

}  // namespace shoal::test
