// A small U-Net: which class each pixel of a frame has. Plain LibTorch; it knows nothing of devices.
#pragma once

#include <torch/torch.h>

struct ConvBlockImpl : torch::nn::Module {
  ConvBlockImpl(int64_t in, int64_t out)
      : conv(register_module("conv", torch::nn::Conv2d(torch::nn::Conv2dOptions(in, out, 3).padding(1)))),
        norm(register_module("norm", torch::nn::GroupNorm(torch::nn::GroupNormOptions(4, out)))) {}
  torch::Tensor forward(const torch::Tensor& x) { return torch::silu(norm(conv(x))); }
  torch::nn::Conv2d conv;
  torch::nn::GroupNorm norm;
};
TORCH_MODULE(ConvBlock);

struct SegmenterImpl : torch::nn::Module {
  explicit SegmenterImpl(int64_t classes)
      : head(register_module("head", torch::nn::Conv2d(torch::nn::Conv2dOptions(16, classes, 1)))) {}

  /// Frames U8 [B, 3, H, W] -> scores of the classes [B, classes, H, W]. H and W are multiples of 8.
  torch::Tensor forward(const torch::Tensor& frames) {
    const auto up = [](const torch::Tensor& small, const torch::Tensor& skip) {
      return torch::cat({torch::upsample_nearest2d(small, skip.sizes().slice(2)), skip}, 1);
    };
    const torch::Tensor level1 = down1(frames.to(torch::kFloat) / 127.5 - 1);
    const torch::Tensor level2 = down2(torch::max_pool2d(level1, 2));
    const torch::Tensor level3 = down3(torch::max_pool2d(level2, 2));
    const torch::Tensor bottom = deepest(torch::max_pool2d(level3, 2));
    return head(up1(up(up2(up(up3(up(bottom, level3)), level2)), level1)));
  }
  ConvBlock down1{register_module("down1", ConvBlock(3, 16))};
  ConvBlock down2{register_module("down2", ConvBlock(16, 32))};
  ConvBlock down3{register_module("down3", ConvBlock(32, 64))};
  ConvBlock deepest{register_module("deepest", ConvBlock(64, 64))};
  ConvBlock up3{register_module("up3", ConvBlock(64 + 64, 64))};
  ConvBlock up2{register_module("up2", ConvBlock(64 + 32, 32))};
  ConvBlock up1{register_module("up1", ConvBlock(32 + 16, 16))};
  torch::nn::Conv2d head{nullptr};
};
TORCH_MODULE(Segmenter);

/// Mean over all pixels. `labels` U8 [B, H, W].
inline torch::Tensor loss_of(Segmenter& net, const std::vector<torch::Tensor>& batch) {
  return torch::cross_entropy_loss(net(batch[0]), batch[1].to(torch::kLong));
}
