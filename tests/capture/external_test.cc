// Tensors that live outside of the model: each step computes with their numbers of now.
#include <gtest/gtest.h>
#include <torch/torch.h>

#include "comm/comm.h"
#include "shoal/shoal.h"
#include "support/expect_error.h"
#include "support/learner.h"

namespace shoal {
namespace {

namespace nn = torch::nn;
namespace F = torch::nn::functional;
using test::EagerLearner;
using test::expect_like_eager;
using test::OurLearner;

// Two layers; numbers that depend on the sizes and `salt` alone, so that ranks as threads need no generator.
struct NetImpl : nn::Module {
  NetImpl(int64_t inputs, int64_t outputs, double salt) {
    first = register_module("first", nn::Linear(inputs, 8));
    second = register_module("second", nn::Linear(8, outputs));
    const torch::NoGradGuard no_grad;
    for (torch::Tensor& parameter : parameters())
      parameter.copy_(torch::linspace(-1, 1, parameter.numel()).mul(3 + salt).sin().mul(0.5).view(parameter.sizes()));
  }
  torch::Tensor forward(const torch::Tensor& x) { return second(torch::leaky_relu(first(x), 0.2)); }
  nn::Linear first{nullptr}, second{nullptr};
};
TORCH_MODULE(Net);

torch::Tensor wave(at::IntArrayRef shape, double salt) {
  int64_t count = 1;
  for (int64_t size : shape) count *= size;
  return torch::linspace(0, 1 + salt, count).mul(11).cos().view(shape);
}
Batch batch_of(int64_t step) { return {wave({4, 3}, 0.1 * step), wave({4, 6}, 0.3 * step)}; }

torch::Tensor bce(const torch::Tensor& logits, double target) {
  return F::binary_cross_entropy_with_logits(logits, torch::full_like(logits, target));
}

std::vector<torch::Tensor> weights(const auto&... learners) {
  std::vector<torch::Tensor> all;
  for (const char* name : {"first.weight", "first.bias", "second.weight", "second.bias"})
    (all.push_back(learners.parameter(name)), ...);
  return all;
}

// The two halves of a GAN, each trained with the other as it is by now.
template <class Learner, class ModelOfG, class ModelOfD>
std::vector<torch::Tensor> play_gan(World& world, const ModelOfG& model_g, Net g, const ModelOfD& model_d, Net d) {
  Learner of_d(world, model_d, [g](Net& net, const Batch& batch) mutable {
    return bce(net(batch[1]), 1) + bce(net(g(batch[0]).detach()), 0);
  });
  Learner of_g(world, model_g, [d](Net& net, const Batch& batch) mutable { return bce(d(net(batch[0])), 1); });
  if constexpr (std::is_same_v<Learner, OurLearner<Net>>)
    of_g.trainer().prepare({batch_of(0)[0].slice(0, 0, 2), batch_of(0)[1].slice(0, 0, 2)});
  for (int64_t step = 0; step < 5; ++step) {
    of_d.step(batch_of(step));
    of_g.step(batch_of(step));
    if (step % 2 == 1) of_g.step(batch_of(step + 100));
  }
  return weights(of_d, of_g);
}

TEST(External, AGanOfTwoTrainersEqualsItsLoop) {
  const auto eager = [](World& world) {
    Net g(3, 6, 0), d(6, 1, 1);
    return play_gan<EagerLearner<Net>>(world, g, g, d, d);
  };
  expect_like_eager(
      [](World& world) {
        Net g(3, 6, 0), d(6, 1, 1);
        return play_gan<OurLearner<Net>>(world, g, g, d, d);
      },
      eager);
  expect_like_eager(
      [](World& world) {
        const auto g = describe([] { return Net(3, 6, 0); }), d = describe([] { return Net(6, 1, 1); });
        return play_gan<OurLearner<Net>>(world, g, g.module, d, d.module);
      },
      eager);
}

TEST(External, ADescribedModelWithoutATrainerIsRefused) {
  World world{comm::single()};
  const auto other = describe([] { return Net(6, 1, 1); });
  const auto loss = [other = other.module](Net& net, const Batch& batch) mutable {
    return other(net(batch[0])).mean();
  };
  OurLearner<Net> learner(world, Net(3, 6, 0), loss);
  EXPECT_ERROR(learner.step(batch_of(0)), InputError,
               "trainer - tensor f32[8,6] outside of the model: it was made by the constructor of a described model "
               "that no Trainer of this World trains, so it has no numbers; build that model instead, or keep its "
               "Trainer");
  Trainer late(world, other, [](Net& net, const Batch& batch) { return net(batch[1]).mean(); });
  OurLearner<Net> early(world, Net(3, 6, 0), loss);
  EXPECT_ERROR(early.step(batch_of(0)), InputError,
               "trainer - tensor f32[8,6] outside of the model: it is first.weight of a described model whose Trainer "
               "has no numbers yet; call prepare() or step() of that Trainer first");
  late.prepare(batch_of(0));
  early.step(batch_of(0));
}

void copy_weights(Net& to, const auto& from, double share) {
  const torch::NoGradGuard no_grad;
  for (auto& named : to->named_parameters()) named.value().mul_(1 - share).add_(from.parameter(named.key()), share);
}

// A target network that is replaced now and then, or follows a little in each step.
template <class Learner>
std::vector<torch::Tensor> play_target(World& world, double share) {
  Net net(6, 6, 0), target(6, 6, 2);
  Learner learner(world, net, [target](Net& online, const Batch& batch) mutable {
    const torch::NoGradGuard no_grad;
    const auto goal = target(batch[1]) * 0.9 + 0.1;
    const at::AutoGradMode grad(true);
    return F::mse_loss(online(batch[1]), goal);
  });
  for (int64_t step = 0; step < 5; ++step) {
    learner.step(batch_of(step));
    copy_weights(target, learner, share);
  }
  return weights(learner);
}

TEST(External, ATargetNetworkIsFollowed) {
  for (const double share : {1.0, 0.25})
    expect_like_eager([&](World& world) { return play_target<OurLearner<Net>>(world, share); },
                      [&](World& world) { return play_target<EagerLearner<Net>>(world, share); });
}

// What a loss may read of other modules and tensors; `change` happens between the steps.
struct Outside {
  Net net{6, 6, 0}, other{6, 6, 2};
  torch::Tensor plain = wave({6}, 0.5);
  torch::Tensor view = other->first->weight.narrow(0, 1, 6);
  torch::Tensor detached = other->second->weight.detach();
  std::shared_ptr<torch::Tensor> held = std::make_shared<torch::Tensor>(wave({6}, 0.9));
};
using Read = std::function<torch::Tensor(Outside&, Net&, const Batch&)>;
using Change = std::function<void(Outside&, int64_t step)>;

template <class Learner>
std::vector<torch::Tensor> play_outside(World& world, const Read& read, const Change& change) {
  Outside outside;
  Learner learner(world, outside.net,
                  [&](Net& net, const Batch& batch) { return read(outside, net, batch).pow(2).mean(); });
  for (int64_t step = 0; step < 4; ++step) {
    learner.step(batch_of(step));
    const torch::NoGradGuard no_grad;
    change(outside, step);
  }
  return weights(learner);
}

void expect_read_live(const Read& read, const Change& change) {
  expect_like_eager([&](World& world) { return play_outside<OurLearner<Net>>(world, read, change); },
                    [&](World& world) { return play_outside<EagerLearner<Net>>(world, read, change); });
}

TEST(External, WhateverLivesOutsideIsReadAnew) {
  const Change scale = [](Outside& outside, int64_t) {
    for (torch::Tensor& parameter : outside.other->parameters()) parameter.mul_(0.75);
    outside.plain.add_(0.5);
  };
  expect_read_live([](Outside& o, Net& net, const Batch& b) { return net(b[1]) + o.plain; }, scale);
  expect_read_live([](Outside& o, Net& net, const Batch& b) { return net(b[1]) * o.plain.exp().sum() * 0.02; }, scale);
  expect_read_live([](Outside& o, Net& net, const Batch& b) { return torch::mm(net(b[1]), o.view); }, scale);
  expect_read_live([](Outside& o, Net& net, const Batch& b) { return torch::mm(net(b[1]), o.detached); }, scale);
  expect_read_live(
      [](Outside& o, Net& net, const Batch& b) { return torch::mm(net(b[1]), o.other->second->weight.data()); },
      scale);
  expect_read_live(
      [](Outside& o, Net& net, const Batch& b) { return net(b[1]) - o.other->second->bias * o.plain.t(); }, scale);
}

TEST(External, ATensorThatIsReplacedIsReadAnew) {
  expect_read_live([](Outside& o, Net& net, const Batch& b) { return net(b[1]) + *o.held; },
                   [](Outside& o, int64_t step) { *o.held = wave({6}, static_cast<double>(step)); });
  // Loading weights gives parameters other memory.
  expect_read_live([](Outside& o, Net& net, const Batch& b) { return o.other(net(b[1])); },
                   [](Outside& o, int64_t step) {
                     for (torch::Tensor& parameter : o.other->parameters())
                       parameter.set_data(parameter.data() * (0.5 + 0.1 * static_cast<double>(step)));
                   });
}

TEST(External, ATensorThatIsAnotherOneInEachCallIsRefused) {
  World world{comm::single()};
  const std::vector<torch::Tensor> all = {wave({6}, 0), wave({6}, 1), wave({6}, 2)};
  size_t next = 0;
  OurLearner<Net> learner(world, Net(6, 6, 0), [&](Net& net, const Batch& batch) {
    return (net(batch[1]) * all.at(next++ % 3)).mean();
  });
  EXPECT_ERROR(learner.step(batch_of(0)), InputError,
               "capture - model: each call of it reads another tensor from outside of the model; copy_() the numbers "
               "into one tensor, or put them in the batch");
}

TEST(External, NumbersMadeInForwardAreConstants) {
  World world{comm::single()};
  const auto loss = [](Net& net, const Batch& batch) {
    std::vector<float> numbers = {1, 2, 3, 4, 5, 6};
    const auto copied = torch::from_blob(numbers.data(), {6}).clone();
    const auto made = torch::zeros({6}, torch::kCPU) + torch::tensor({1.0f, 1.5f, 1.0f, 1.0f, 1.0f, 1.0f});
    const auto filled = torch::empty({6}, torch::kCPU).fill_(0.5);
    return (net(batch[1]) * copied * made * filled).mean();
  };
  expect_like_eager(
      [&](World& w) {
        OurLearner<Net> learner(w, Net(6, 6, 0), loss);
        for (int64_t step = 0; step < 3; ++step) learner.step(batch_of(step));
        return weights(learner);
      },
      [&](World& w) {
        EagerLearner<Net> learner(w, Net(6, 6, 0), loss);
        for (int64_t step = 0; step < 3; ++step) learner.step(batch_of(step));
        return weights(learner);
      });
  check_capture(Net(6, 6, 0), loss, batch_of(0));
}

TEST(External, ATensorOnTheCpuTakesValuesOfTheGraph) {
  const auto play = [](auto& learner) {
    for (int64_t step = 0; step < 3; ++step) learner.step(batch_of(step));
    return weights(learner);
  };
  for (const auto& fill : std::vector<std::function<void(torch::Tensor&, const torch::Tensor&)>>{
           [](torch::Tensor& out, const torch::Tensor& h) { out.copy_(h); },
           [](torch::Tensor& out, const torch::Tensor& h) { out.slice(0, 0, 1).copy_(h.slice(0, 1, 2)); },
           [](torch::Tensor& out, const torch::Tensor& h) { out += h; },
           [](torch::Tensor& out, const torch::Tensor& h) { out.index_put_({torch::tensor({0, 1})}, h * 2); }}) {
    const auto loss = [fill](Net& net, const Batch& batch) {
      auto out = torch::zeros({2, 6}, torch::kCPU);
      fill(out, net(batch[1]));
      return (out * out.sin()).mean();
    };
    expect_like_eager(
        [&](World& world) {
          OurLearner<Net> learner(world, Net(6, 6, 0), loss);
          return play(learner);
        },
        [&](World& world) {
          EagerLearner<Net> learner(world, Net(6, 6, 0), loss);
          return play(learner);
        });
  }
}

void expect_refused(const Read& read, const std::string& sentence) {
  World world{comm::single()};
  Outside outside;
  OurLearner<Net> learner(
      world, outside.net, [&](Net& net, const Batch& batch) { return read(outside, net, batch).pow(2).mean(); });
  EXPECT_ERROR(learner.step(batch_of(0)), InputError, sentence);
}

TEST(External, WhatForwardChangesOutsideIsRefused) {
  const std::string why =
      " outside of the model: forward changes it (a counter, a running mean; the statistics of another module that "
      "is in training mode), which is not supported; register it in the model with register_buffer, or put the "
      "other module in eval() mode";
  const auto calls = std::make_shared<torch::Tensor>(torch::zeros({}));
  expect_refused(
      [calls](Outside&, Net& net, const Batch& b) {
        *calls += 1;
        return net(b[1]);
      },
      "capture - tensor f32[]" + why);
  expect_refused(
      [](Outside& o, Net& net, const Batch& b) {
        auto h = net(b[1]);
        o.plain.mul_(0.9).add_(h.detach().mean(0), 0.1);
        return h;
      },
      "capture - tensor f32[6]" + why);
  expect_refused(
      [](Outside& o, Net& net, const Batch& b) {
        o.plain.data().copy_(b[1][0]);
        return net(b[1]);
      },
      "capture - tensor f32[6]" + why);
  nn::BatchNorm1d norm(6);
  expect_refused([norm](Outside&, Net& net, const Batch& b) mutable { return norm(net(b[1])); },
                 "capture - tensor i64[]" + why);
}

TEST(External, AFunctionOfParametersThatWasComputedBeforeIsRefused) {
  Outside other;
  const auto stored = other.other->first->weight.narrow(0, 1, 6) * 2;
  expect_refused([stored](Outside&, Net& net, const Batch& b) { return torch::mm(net(b[1]), stored); },
                 "capture - tensor f32[6,6]: it was computed before forward was called, from what requires a "
                 "gradient (it has a grad_fn), and would stay as it is; compute it in forward, or detach() it");
}

TEST(External, OtherModulesComputeInBf16AsTheModelDoes) {
  World world{comm::single()};
  Net teacher(6, 6, 2);
  for (auto& parameter : teacher->parameters()) parameter.set_requires_grad(false);
  nn::BatchNorm1d norm(6);
  norm->eval();
  Trainer trainer(world, Net(6, 6, 0),
                  [=](Net& net, const Batch& batch) mutable {
                    return F::mse_loss(net(batch[1]), norm(teacher(batch[1])).detach());
                  },
                  {.optimizer = Sgd{.lr = 0.1}, .precision = Precision::kBF16});
  const float before = trainer.step(batch_of(1)).loss;
  for (int64_t step = 0; step < 20; ++step) trainer.step(batch_of(1));
  EXPECT_LT(trainer.step(batch_of(1)).loss, before);
}

}  // namespace
}  // namespace shoal
