#include "models/resnet.h"

#include <torch/nn/functional/activation.h>
#include <torch/nn/init.h>

namespace shoal::models {

namespace nn = torch::nn;

namespace {

nn::Conv2d conv(int64_t in, int64_t out, int64_t kernel, int64_t stride) {
  return nn::Conv2d(nn::Conv2dOptions(in, out, kernel).stride(stride).padding(kernel / 2).bias(false));
}

}  // namespace

ResnetBlockImpl::ResnetBlockImpl(int64_t in, int64_t out, int64_t stride) {
  conv1_ = register_module("conv1", conv(in, out, 3, stride));
  norm1_ = register_module("norm1", nn::BatchNorm2d(out));
  conv2_ = register_module("conv2", conv(out, out, 3, 1));
  norm2_ = register_module("norm2", nn::BatchNorm2d(out));
  if (in == out && stride == 1) return;
  shortcut_ = register_module("shortcut", conv(in, out, 1, stride));
  shortcut_norm_ = register_module("shortcut_norm", nn::BatchNorm2d(out));
}

torch::Tensor ResnetBlockImpl::forward(torch::Tensor x_BCHW) {
  const auto inner = norm2_(conv2_(torch::relu(norm1_(conv1_(x_BCHW)))));
  return torch::relu(inner + (shortcut_ ? shortcut_norm_(shortcut_(x_BCHW)) : x_BCHW));
}

ResnetImpl::ResnetImpl(const ResnetConfig& config) {
  conv_ = register_module("conv", conv(3, config.width, 3, 1));
  norm_ = register_module("norm", nn::BatchNorm2d(config.width));
  blocks_ = register_module("blocks", nn::ModuleList());
  int64_t channels = config.width;
  for (int64_t stage = 0; stage < config.stages; ++stage) {
    for (int64_t layer = 0; layer < config.layers; ++layer) {
      const bool shrinks = stage > 0 && layer == 0;
      blocks_->push_back(ResnetBlock(channels, shrinks ? 2 * channels : channels, shrinks ? 2 : 1));
      if (shrinks) channels *= 2;
    }
  }
  head_ = register_module("head", nn::Linear(channels, config.outputs));

  const torch::NoGradGuard no_grad;
  for (const auto& parameter : named_parameters())
    if (parameter.value().dim() == 4)
      nn::init::kaiming_normal_(parameter.value(), 0, torch::kFanOut, torch::kReLU);
}

torch::Tensor ResnetImpl::forward(torch::Tensor images_BCHW) {
  auto x = torch::relu(norm_(conv_(images_BCHW)));
  for (const auto& block : *blocks_) x = block->as<ResnetBlock>()->forward(x);
  return head_(x.mean({2, 3}));
}

}  // namespace shoal::models
