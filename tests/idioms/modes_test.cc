// What people do with modes and buffers.
#include "idioms/idiom.h"

namespace shoal::test {
namespace {

using torch::Tensor;

struct NormedImpl : torch::nn::Module {
  torch::nn::Linear hidden{register_module("hidden", torch::nn::Linear(6, 8))};
  torch::nn::BatchNorm1d bn{nullptr};
  torch::nn::Dropout dropout{register_module("dropout", torch::nn::Dropout(0.5))};
  torch::nn::Linear out{register_module("out", torch::nn::Linear(8, 3))};
  explicit NormedImpl(torch::nn::BatchNorm1dOptions options = torch::nn::BatchNorm1dOptions(8))
      : bn(register_module("bn", torch::nn::BatchNorm1d(options))) {
    dropout->eval();  // random numbers are not eager's
  }
  Tensor forward(const Tensor& x) { return out(dropout(torch::relu(bn(hidden(x))))); }
};
TORCH_MODULE(Normed);

Idiom<Normed> normed(std::function<void(int64_t, Normed&)> before = {},
                     torch::nn::BatchNorm1dOptions options = torch::nn::BatchNorm1dOptions(8)) {
  return {[options] { return Normed(options); }, classify<Normed>, std::move(before)};
}

TEST(IdiomsModes, SubmodulesKeepTheirs) {
  try_idiom("a dropout in eval(), the rest in train()", [] { return normed(); });
  try_idiom("batch norm frozen before training", [] {
    auto idiom = normed();
    idiom.make = [] {
      Normed net;
      net->bn->eval();
      return net;
    };
    return idiom;
  });
  try_idiom("batch norm frozen after a while", [] {
    return normed([](int64_t step, Normed& net) {
      if (step == 2) net->bn->eval();
    });
  });
  try_idiom("all of it in eval()", [] {
    return normed([](int64_t, Normed& net) { net->eval(); });
  });
  try_idiom("eval() and train() around a validation, dropout left in eval()", [] {
    return normed([](int64_t step, Normed& net) {
      if (step == 0) return;
      net->eval();
      const torch::NoGradGuard no_grad;
      (void)net->forward(idiom_batch(50, 0)[0]);
      net->train();
      net->dropout->eval();
    });
  });
}

TEST(IdiomsModes, ValidationSeesTheWeightsOfNow) {
  const auto fresh = [](std::shared_ptr<std::vector<float>> seen) {
    return [seen] {
      return normed([seen](int64_t, Normed& net) {
        net->bn->eval();
        const torch::NoGradGuard no_grad;
        seen->push_back(net->forward(idiom_batch(50, 0)[0]).sum().item<float>());
        net->bn->train();
      });
    };
  };
  const auto ours = std::make_shared<std::vector<float>>(), eager = std::make_shared<std::vector<float>>();
  EXPECT_EQ(by_trainer(fresh(ours)()).refused, "");
  eagerly(fresh(eager)());
  EXPECT_EQ(*ours, *eager);
}

TEST(IdiomsModes, KindsOfBatchNorm) {
  using Options = torch::nn::BatchNorm1dOptions;
  try_idiom("without running statistics", [] { return normed({}, Options(8).track_running_stats(false)); });
  try_idiom("without weight and bias", [] { return normed({}, Options(8).affine(false)); });
  try_idiom("with another momentum", [] { return normed({}, Options(8).momentum(0.3)); });
  try_idiom("reset_running_stats() between steps", [] {
    return normed([](int64_t step, Normed& net) {
      if (step == 2) net->bn->reset_running_stats();
    });
  });
  try_idiom("running_mean written between steps", [] {
    return normed([](int64_t step, Normed& net) {
      if (step == 2) net->bn->running_mean.fill_(0.25);
    });
  });
}

TEST(IdiomsModes, BuffersOfOnesOwn) {
  struct BufferedImpl : torch::nn::Module {
    torch::nn::Linear out{register_module("out", torch::nn::Linear(6, 3))};
    Tensor scale{register_buffer("scale", torch::tensor({1.f, 2.f, 0.5f}))};
    Tensor calls{register_buffer("calls", torch::zeros({}, torch::kLong))};
    Tensor mean{register_buffer("mean", torch::zeros({6}))};
    Tensor forward(const Tensor& x) {
      calls += 1;
      mean.copy_(0.9 * mean + 0.1 * x.detach().mean(0));
      return out(x) * scale;
    }
  };
  using Buffered = torch::nn::ModuleHolder<BufferedImpl>;
  try_idiom("a constant, a counter, a moving average", [] {
    return Idiom<Buffered>{[] { return Buffered(std::make_shared<BufferedImpl>()); }, classify<Buffered>};
  });
  try_idiom("a buffer that the loss reads, changed between steps", [] {
    return Idiom<Buffered>{[] { return Buffered(std::make_shared<BufferedImpl>()); }, classify<Buffered>,
                           [](int64_t step, Buffered& net) { net->scale.fill_(1.0 + static_cast<double>(step)); }};
  });
  struct AssignedImpl : torch::nn::Module {
    torch::nn::Linear out{register_module("out", torch::nn::Linear(6, 3))};
    Tensor mean{register_buffer("mean", torch::zeros({6}))};
    Tensor forward(const Tensor& x) {
      mean = 0.9 * mean + 0.1 * x.detach().mean(0);  // the member, not the registered buffer
      return out(x - mean);
    }
  };
  using Assigned = torch::nn::ModuleHolder<AssignedImpl>;
  try_idiom("a buffer's member assigned in forward", [] {
    return Idiom<Assigned>{[] { return Assigned(std::make_shared<AssignedImpl>()); }, classify<Assigned>};
  }, Want::kRefused, "");
}

TEST(IdiomsModes, GradientsSwitchedOff) {
  const auto with_loss = [](auto loss) {
    return [loss] { return Idiom<TwoLayers>{[] { return TwoLayers(); }, loss}; };
  };
  try_idiom("NoGradGuard around a part", with_loss([](TwoLayers& net, const Batch& batch) {
              Tensor features;
              {
                const torch::NoGradGuard no_grad;
                features = net->features(batch[0]);
              }
              return torch::cross_entropy_loss(net->out(features), batch[1]);
            }));
  try_idiom("a target from a second forward, detached", one_microbatch(with_loss([](TwoLayers& net, const Batch& batch) {
              const Tensor target = net->forward(batch[0] * 0.5).detach();
              return classify(net, batch) + torch::mse_loss(net->forward(batch[0]), target);
            })));
  try_idiom("AutoGradMode on inside NoGradGuard", with_loss([](TwoLayers& net, const Batch& batch) {
              const torch::NoGradGuard no_grad;
              const torch::AutoGradMode on(true);
              return classify(net, batch);
            }));
}

}  // namespace
}  // namespace shoal::test
