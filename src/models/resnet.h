// A ResNet of basic blocks for small images: plain LibTorch, knows nothing of Shoal (He et al., "Deep
// residual learning for image recognition", 2015, section 4.2). Shapes: B images of 3 colours, height H,
// width W.
#pragma once

#include <torch/nn/module.h>
#include <torch/nn/modules/batchnorm.h>
#include <torch/nn/modules/container/modulelist.h>
#include <torch/nn/modules/conv.h>
#include <torch/nn/modules/linear.h>

namespace shoal::models {

struct ResnetConfig {
  int64_t stages = 3;  // each but the first halves height and width, and doubles the channels
  int64_t layers = 2;  // blocks of a stage
  int64_t width = 16;  // channels of the first stage
  int64_t outputs = 10;
};

class ResnetBlockImpl : public torch::nn::Module {
 public:
  ResnetBlockImpl(int64_t in, int64_t out, int64_t stride);
  torch::Tensor forward(torch::Tensor x_BCHW);

 private:
  torch::nn::Conv2d conv1_{nullptr}, conv2_{nullptr}, shortcut_{nullptr};
  torch::nn::BatchNorm2d norm1_{nullptr}, norm2_{nullptr}, shortcut_norm_{nullptr};
};
TORCH_MODULE(ResnetBlock);

class ResnetImpl : public torch::nn::Module {
 public:
  explicit ResnetImpl(const ResnetConfig& config);
  /// images [B,3,H,W] -> logits [B,outputs]
  torch::Tensor forward(torch::Tensor images_BCHW);

 private:
  torch::nn::Conv2d conv_{nullptr};
  torch::nn::BatchNorm2d norm_{nullptr};
  torch::nn::ModuleList blocks_{nullptr};
  torch::nn::Linear head_{nullptr};
};
TORCH_MODULE(Resnet);

}  // namespace shoal::models
