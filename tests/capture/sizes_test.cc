// sizes() of a tensor that forward changed in place, or of a view of it, live as long as the tensor, as eager
// code expects.
#include <gtest/gtest.h>
#include <torch/torch.h>

#include "shoal/shoal.h"

namespace shoal {
namespace {

namespace nn = torch::nn;

// Uses an operator on `x` between taking sizes and strides and reading them, as LibTorch's own modules do.
torch::Tensor sum_by_sizes(const torch::Tensor& x, const torch::Tensor& other) {
  const at::IntArrayRef sizes = x.sizes(), strides = x.strides();
  const std::vector<int64_t> sizes_before = sizes.vec(), strides_before = strides.vec();
  const auto first = (x * x).sum();
  std::vector<torch::Tensor> noise;  // takes the memory of whatever was let go
  for (int64_t i = 1; i <= 20; ++i) noise.push_back((other * i).unsqueeze(0).expand({i, -1, -1}).sum());
  EXPECT_EQ(sizes.vec(), sizes_before);
  EXPECT_EQ(strides.vec(), strides_before);
  return first + noise.back() * 0 + x.reshape(sizes).mean();
}

using Change = std::function<std::vector<torch::Tensor>(torch::Tensor x)>;

void expect_sizes_stay(const std::vector<Change>& changes) {
  for (size_t i = 0; i < changes.size(); ++i) {
    SCOPED_TRACE(i);
    const auto loss = [&](nn::Linear& linear, const Batch& batch) {
      auto total = torch::zeros({});
      for (const torch::Tensor& view : changes[i](linear(batch[0]) * 2))
        total = total + sum_by_sizes(view, batch[0]);
      return total;
    };
    EXPECT_NO_THROW(
        check_capture(nn::Linear(6, 8), loss, {torch::linspace(-1, 1, 60).view({10, 6})}));
  }
}

TEST(Sizes, OfATensorChangedInPlaceAndOfItsViews) {
  expect_sizes_stay({
      [](torch::Tensor x) {
        x += 1;
        return std::vector{x, x.t(), x.permute({1, 0})};
      },
      [](torch::Tensor x) {
        x += 1;
        return std::vector{x.narrow(0, 2, 5), x.select(0, 3), x.transpose(0, 1), x.unsqueeze(1)};
      },
      [](torch::Tensor x) {
        auto view = x.view({2, 5, 8}).permute({1, 0, 2});
        x += 1;
        view *= 2;
        return std::vector{x, view};
      },
      [](torch::Tensor x) {
        auto view = x.view({5, 16});
        view += 1;
        x *= 2;
        view.narrow(1, 3, 4).add_(1);
        return std::vector{view, x, view.narrow(0, 1, 2)};
      },
      [](torch::Tensor x) {
        x.mul_(0.5);
        x.narrow(1, 2, 4).mul_(2);  // after relu_() eager refuses this: its result is needed for backward
        const auto parts = x.chunk(2, 1);
        return std::vector{parts[0], parts[1].unsqueeze(0), x};
      },
  });
}

TEST(Sizes, OfAConstantChangedInPlace) {
  expect_sizes_stay({[](torch::Tensor x) {
    auto factors = torch::tensor({1.f, 2.f, 3.f, 4.f, 5.f, 6.f, 7.f, 8.f});
    auto square = factors.view({2, 4}).t();
    factors += 1;
    return std::vector{factors.unsqueeze(0), square, x * factors};
  }});
}

TEST(Sizes, OfATensorWhoseShapeChangesInPlace) {
  expect_sizes_stay({
      [](torch::Tensor x) {
        x += 1;
        x.t_();
        return std::vector{x};
      },
      [](torch::Tensor x) {
        x.unsqueeze_(0);
        x += 1;
        x.squeeze_(0);
        x.transpose_(0, 1);
        return std::vector{x, x.narrow(0, 0, 3)};
      },
  });
}

TEST(Sizes, OfMoreThanFiveDims) {
  expect_sizes_stay({[](torch::Tensor x) {
    auto many = x.view({2, 5, 2, 1, 2, 1, 2});
    x += 1;
    many *= 3;
    return std::vector{many.permute({6, 5, 4, 3, 2, 1, 0}), many, x};
  }});
}

TEST(Sizes, OfWhatAttentionIsGiven) {
  struct NetImpl : nn::Module {
    NetImpl() { attention = register_module("attention", nn::MultiheadAttention(8, 2)); }
    nn::MultiheadAttention attention{nullptr};
  };
  const nn::ModuleHolder<NetImpl> net(std::make_shared<NetImpl>());
  const auto loss = [](nn::ModuleHolder<NetImpl>& net, const Batch& batch) {
    auto x = batch[0] * 2;
    x += batch[0].flip(1);
    x = x.permute({1, 0, 2});
    return std::get<0>(net->attention(x, x, x)).pow(2).mean();
  };
  check_capture(net, loss, {torch::linspace(-1, 1, 80).view({2, 5, 8})});
  check_capture(describe([] { return nn::ModuleHolder<NetImpl>(std::make_shared<NetImpl>()); }), loss,
                {torch::linspace(-1, 1, 80).view({2, 5, 8})});
}

}  // namespace
}  // namespace shoal
