// Numbers that the host reads while a model is captured: computed where nothing of them changes from batch to batch.
#include <gtest/gtest.h>
#include <torch/torch.h>

#include "capture/capture.h"
#include "comm/comm.h"
#include "shoal/shoal.h"
#include "support/expect_error.h"

namespace shoal {
namespace {

namespace nn = torch::nn;
namespace F = torch::nn::functional;

struct NetImpl : nn::Module {
  NetImpl() { first = register_module("first", nn::Linear(6, 6)); }
  nn::Linear first{nullptr};
};
TORCH_MODULE(Net);

using Loss = std::function<torch::Tensor(Net&, const Batch&)>;
Batch sample() { return {torch::linspace(-1, 1, 24).view({4, 6})}; }

void expect_captured(const Loss& loss) {
  Net net;
  check_capture(net, loss, sample());
  check_capture(describe([] { return Net(); }), loss, sample());
}
void expect_refused(const Loss& loss, const std::string& sentence) {
  EXPECT_ERROR(check_capture(Net(), loss, sample()), InputError, sentence);
}

TEST(HostReads, NumbersOfFactoriesAreThere) {
  expect_captured([](Net& net, const Batch& batch) {  // a mask as decoders check it
    const auto h = net->first(batch[0]);
    const auto mask = torch::ones({4, 4}, torch::kBool).tril();
    const bool is_causal = torch::equal(mask, torch::ones_like(mask).tril());
    const bool any = mask.any().item<bool>();
    if (!is_causal || !any || torch::all(mask).item<bool>()) return h.sum();
    return torch::mm(torch::where(mask, 0.0, -1e9).softmax(1), h).mean();
  });
  expect_captured([](Net& net, const Batch& batch) {
    const auto positions = torch::arange(batch[0].size(1));
    const auto last = positions.max().item<int64_t>();
    const double step = torch::linspace(0, 1, 5)[1].item<double>();
    return net->first(batch[0]).select(1, last).mean() * step;
  });
  expect_captured([](Net& net, const Batch& batch) {
    const auto lengths = torch::tensor({2, 4});
    auto h = net->first(batch[0]);
    if (lengths.max().item<int64_t>() == h.size(0) && torch::allclose(torch::ones({3}), torch::full({3}, 1.0)))
      h = h * lengths[0].item<int64_t>();
    if (torch::tensor({true}).is_nonzero()) h = h + 1;
    return h.pow(2).mean();
  });
}

TEST(HostReads, SizesThatKnownNumbersDecide) {
  expect_captured([](Net& net, const Batch& batch) {
    const auto h = net->first(batch[0]);
    const auto upper = torch::ones({4, 6}).triu(1).to(torch::kBool);
    return h.index({upper}).pow(2).mean() + h.masked_select(upper).mean();
  });
  expect_captured([](Net& net, const Batch& batch) {
    const auto even = (torch::arange(6) % 2 == 0);
    const auto h = net->first(batch[0]);
    const auto picked = h.index({torch::indexing::Slice(), even});
    return picked.exp().mean() + h.index_select(1, even.nonzero().squeeze(1)).mean();
  });
  expect_captured([](Net& net, const Batch& batch) {
    const auto repeats = torch::arange(4) + 1;
    const auto h = torch::repeat_interleave(net->first(batch[0]), repeats, 0);
    const auto kinds = std::get<0>(torch::_unique2(torch::arange(6) / 2));
    return h.pow(2).mean() * kinds.size(0) * torch::bincount(torch::arange(3)).size(0);
  });
  expect_captured([](Net& net, const Batch& batch) {
    auto h = net->first(batch[0]).clone();
    h.index_put_({torch::eye(4, 6).to(torch::kBool)}, torch::zeros({}));
    return h.pow(2).mean();
  });
}

TEST(HostReads, NumbersOfTensorsOutsideAreThoseOfNow) {
  const auto outside = torch::ones({3});
  expect_captured([outside](Net& net, const Batch& batch) {
    return net->first(batch[0]).mean() * (outside.sum().item<float>() > 2 ? 3 : 1);
  });
}

TEST(HostReads, NumbersOfTheBatchOrOfParametersAreRefused) {
  const std::string number =
      "capture - operator aten::_local_scalar_dense: it reads a number (item(), a condition on a tensor, printing): "
      "keep it a tensor, for example torch::where instead of if";
  expect_refused([](Net& net, const Batch& batch) { return net->first(batch[0]).mean() * batch[0].max().item(); },
                 number);
  expect_refused(
      [](Net& net, const Batch& batch) {
        return net->first(batch[0]).mean() * (torch::arange(6) * net->first->bias.detach()).sum().item();
      },
      number);
  expect_refused(
      [](Net& net, const Batch& batch) { return net->first(batch[0]).mean() * torch::rand({1}).item(); }, number);
  expect_refused(
      [](Net& net, const Batch& batch) {
        const auto h = net->first(batch[0]);
        return torch::equal(h, batch[0]) ? h.sum() : h.mean();
      },
      "capture - operator aten::equal: it compares numbers that are not there yet: keep the comparison a tensor, for "
      "example (a == b).all()");
}

TEST(HostReads, SizesThatTheBatchDecidesAreRefused) {
  expect_refused([](Net& net, const Batch& batch) { return net->first(batch[0]).index({batch[0] > 0}).mean(); },
                 "capture - operator aten::index.Tensor: indexed by a mask, its result's size depends on the data: use "
                 "torch::where or masked_fill");
  expect_refused(
      [](Net& net, const Batch& batch) {
        return torch::repeat_interleave(net->first(batch[0]), (batch[0].select(1, 0) > 0).to(torch::kLong), 0).mean();
      },
      "capture - operator aten::repeat_interleave.Tensor: its result's size depends on the data: give it the "
      "output_size, or repeat by a number");
  expect_refused(
      [](Net& net, const Batch& batch) {
        return net->first(batch[0]).mean() * std::get<0>(torch::unique_dim(batch[0], 0)).size(0);
      },
      "capture - operator aten::unique_dim: its result's size depends on the data");
}

TEST(HostReads, AttentionAsksWhetherItsInputsAreTheSame) {
  struct AttentionImpl : nn::Module {
    AttentionImpl() { attention = register_module("attention", nn::MultiheadAttention(6, 2)); }
    nn::MultiheadAttention attention{nullptr};
  };
  const auto attention = std::make_shared<AttentionImpl>();
  const nn::ModuleHolder<AttentionImpl> holder(attention);
  for (const bool twice : {false, true})
    check_capture(
        holder,
        [twice](nn::ModuleHolder<AttentionImpl>& model, const Batch& batch) {
          const auto x = batch[0].unsqueeze(0), y = twice ? x * 2 : batch[0].unsqueeze(0);
          return std::get<0>(model->attention(x, y, y)).pow(2).mean();
        },
        sample());
}

TEST(HostReads, AMistakeOfTheModelNamesItsOperator) {
  EXPECT_ERROR(check_capture(
                   Net(),
                   [](Net& net, const Batch& batch) {
                     return net->first(batch[0] + torch::ones({6}, torch::kFloat)).mean();
                   },
                   sample(), Precision::kBF16),
               InputError,
               "capture - model: mat1 and mat2 must have the same dtype, but got Float and BFloat16; in "
               "aten::addmm(parameter first.bias bf16[6], f32[4,6], bf16[6,6]); in a bf16 run parameters and batch "
               "are bf16, other tensors become so by .to(x.scalar_type())");
}

}  // namespace
}  // namespace shoal
