// A U-Net with group norm: cut in stages, its skips go from the stages on the way down straight to those on the way up.
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

struct UnetImpl : torch::nn::Module {
  /// Images [B, 1, H, W] -> for each pixel, how likely it lies on a disc: [B, 1, H, W]. H and W are multiples of 4.
  torch::Tensor forward(const torch::Tensor& x) {
    const auto up = [](const torch::Tensor& small, const torch::Tensor& skip) {
      return torch::cat({torch::upsample_nearest2d(small, skip.sizes().slice(2)), skip}, 1);
    };
    const torch::Tensor large = down1(x);
    const torch::Tensor middle = down2(torch::avg_pool2d(large, 2));
    const torch::Tensor small = bottom(torch::avg_pool2d(middle, 2));
    return head(up1(up(up2(up(small, middle)), large)));
  }
  ConvBlock down1{register_module("down1", ConvBlock(1, 8))};
  ConvBlock down2{register_module("down2", ConvBlock(8, 16))};
  ConvBlock bottom{register_module("bottom", ConvBlock(16, 32))};
  ConvBlock up2{register_module("up2", ConvBlock(32 + 16, 16))};
  ConvBlock up1{register_module("up1", ConvBlock(16 + 8, 8))};
  torch::nn::Conv2d head{register_module("head", torch::nn::Conv2d(torch::nn::Conv2dOptions(8, 1, 1)))};
};
TORCH_MODULE(Unet);

/// Discs in noise, and the masks of the discs.
inline std::vector<torch::Tensor> discs(int64_t samples) {
  constexpr int64_t kSize = 24;
  const auto along = torch::arange(kSize, torch::kFloat);
  const auto centre = 4 + torch::rand({2, samples, 1, 1}) * (kSize - 8);
  const auto distance2 = (along.view({1, kSize, 1}) - centre[0]).square() + (along.view({1, 1, kSize}) - centre[1]).square();
  const auto masks = (distance2 < 25).to(torch::kFloat).unsqueeze(1);
  return {masks + torch::randn_like(masks) * 0.5, masks};
}

inline torch::Tensor loss_of(Unet& net, const std::vector<torch::Tensor>& batch) {
  return torch::binary_cross_entropy_with_logits(net(batch[0]), batch[1]);
}
