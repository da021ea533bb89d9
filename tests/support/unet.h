// A small U-Net: convolutions with group norm, two resolutions, skips from the way down to the way up.
#pragma once

#include <torch/torch.h>

namespace shoal::test {

struct UnetBlockImpl : torch::nn::Module {
  UnetBlockImpl(int64_t in, int64_t out)
      : conv(register_module("conv", torch::nn::Conv2d(torch::nn::Conv2dOptions(in, out, 3).padding(1)))),
        norm(register_module("norm", torch::nn::GroupNorm(torch::nn::GroupNormOptions(4, out)))) {}
  torch::Tensor forward(const torch::Tensor& x) { return torch::silu(norm(conv(x))); }
  torch::nn::Conv2d conv;
  torch::nn::GroupNorm norm;
};
TORCH_MODULE(UnetBlock);

/// [batch, 3, h, w] -> [batch, classes, h, w]; h and w are multiples of 4.
struct UnetImpl : torch::nn::Module {
  explicit UnetImpl(int64_t width = 8, int64_t classes = 5)
      : down1(register_module("down1", UnetBlock(3, width))),
        down2(register_module("down2", UnetBlock(width, 2 * width))),
        middle(register_module("middle", UnetBlock(2 * width, 2 * width))),
        up2(register_module("up2", UnetBlock(4 * width, width))),
        up1(register_module("up1", UnetBlock(2 * width, width))),
        head(register_module("head", torch::nn::Conv2d(torch::nn::Conv2dOptions(width, classes, 1)))) {}
  torch::Tensor forward(const torch::Tensor& x) {
    const torch::Tensor a = down1(x);
    const torch::Tensor b = down2(torch::avg_pool2d(a, 2));
    const torch::Tensor m = middle(torch::avg_pool2d(b, 2));
    const torch::Tensor c = up2(torch::cat({torch::upsample_nearest2d(m, b.sizes().slice(2)), b}, 1));
    return head(up1(torch::cat({torch::upsample_nearest2d(c, a.sizes().slice(2)), a}, 1)));
  }
  UnetBlock down1, down2, middle, up2, up1;
  torch::nn::Conv2d head;
};
TORCH_MODULE(Unet);

}  // namespace shoal::test
