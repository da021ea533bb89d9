// A multi-layer perceptron with dropout: plain LibTorch, knows nothing of Shoal.
#pragma once

#include <torch/nn/module.h>
#include <torch/nn/modules/container/modulelist.h>
#include <torch/nn/modules/linear.h>

namespace shoal::models {

struct MlpConfig {
  int64_t inputs = 32;
  int64_t width = 128;
  int64_t layers = 2;  // hidden ones
  int64_t outputs = 10;
  double dropout = 0;
};

class MlpImpl : public torch::nn::Module {
 public:
  explicit MlpImpl(const MlpConfig& config);
  /// x [B, inputs] -> [B, outputs]
  torch::Tensor forward(torch::Tensor x);

 private:
  double dropout_;
  torch::nn::ModuleList layers_{nullptr};
};
TORCH_MODULE(Mlp);

}  // namespace shoal::models
