// What reaches a parameter, or its gradient, past the operators of forward.
#include <gtest/gtest.h>
#include <torch/csrc/autograd/variable.h>
#include <torch/torch.h>

#include "comm/comm.h"
#include "shoal/shoal.h"
#include "support/expect_error.h"
#include "support/learner.h"

namespace shoal {
namespace {

namespace nn = torch::nn;
using test::EagerLearner;
using test::expect_like_eager;
using test::OurLearner;

struct NetImpl : nn::Module {
  NetImpl() {
    first = register_module("first", nn::Linear(6, 8));
    second = register_module("second", nn::Linear(8, 6));
    scale = register_buffer("scale", torch::full({6}, 0.5));
    const torch::NoGradGuard no_grad;
    for (torch::Tensor& parameter : parameters())
      parameter.copy_(torch::linspace(-1, 1, parameter.numel()).mul(3).sin().mul(0.5).view(parameter.sizes()));
  }
  torch::Tensor forward(const torch::Tensor& x) { return second(torch::relu(first(x))); }
  nn::Linear first{nullptr}, second{nullptr};
  torch::Tensor scale, kept;
};
TORCH_MODULE(Net);

Batch batch_of(int64_t step) {
  return {torch::linspace(0, 1 + 0.1 * static_cast<double>(step), 24).mul(11).cos().view({4, 6})};
}

using Prepare = std::function<void(Net&)>;
using Loss = test::Loss<Net>;

torch::Tensor plain_loss(Net& net, const Batch& batch) { return net(batch[0]).pow(2).mean(); }

template <class Learner>
std::vector<torch::Tensor> play(World& world, const Prepare& prepare, const Loss& loss) {
  Net net;
  prepare(net);
  Learner learner(world, net, loss);
  for (int64_t step = 0; step < 4; ++step) learner.step(batch_of(step));
  std::vector<torch::Tensor> all;
  for (const auto& named : net->named_parameters()) all.push_back(learner.parameter(named.key()));
  return all;
}

std::vector<torch::Tensor> weights(const auto& learner) {
  std::vector<torch::Tensor> all;
  for (const char* name : {"first.weight", "first.bias", "second.weight", "second.bias"})
    all.push_back(learner.parameter(name));
  return all;
}

void expect_honoured(const Prepare& prepare, const Loss& loss) {
  expect_like_eager([&](World& world) { return play<OurLearner<Net>>(world, prepare, loss); },
                    [&](World& world) { return play<EagerLearner<Net>>(world, prepare, loss); });
  Net net;
  prepare(net);
  check_capture(net, loss, batch_of(0));
}

void expect_refused(const Prepare& prepare, const Loss& loss, const std::string& sentence) {
  World world{comm::single()};
  Net net;
  prepare(net);
  OurLearner<Net> learner(world, net, loss);
  EXPECT_ERROR(learner.step(batch_of(0)), InputError, sentence);
  Net again;
  prepare(again);
  EXPECT_ERROR(check_capture(again, loss, batch_of(0)), InputError, sentence);
}

void nothing(Net&) {}

TEST(Hooks, OfAParameterSeeItsGradient) {
  expect_honoured([](Net& net) { net->first->weight.register_hook([](torch::Tensor g) { return g * 3; }); },
                  plain_loss);
  expect_honoured(
      [](Net& net) {
        for (torch::Tensor& p : net->parameters())
          p.register_hook([](torch::Tensor g) { return g.clamp(-0.01, 0.01); });
      },
      plain_loss);
  expect_honoured(
      [](Net& net) {
        auto& bias = net->second->bias;
        bias.register_hook([](torch::Tensor g) { return g + 1; });
        const auto gone = bias.register_hook([](torch::Tensor g) { return g * 100; });
        bias.register_hook([](torch::Tensor g) { return g / g.norm(); });
        bias.register_hook([](torch::Tensor) {});  // looks, and changes nothing
        bias.remove_hook(gone);
      },
      plain_loss);
}

TEST(Hooks, OfValuesInForwardSeeTheirGradients) {
  expect_honoured(nothing, [](Net& net, const Batch& batch) {
    auto h = net->first(batch[0]);
    h.register_hook([](torch::Tensor g) { return g * 0.5; });
    auto out = net->second(torch::relu(h));
    out.retain_grad();
    out.register_hook([](torch::Tensor g) { return g.sign() * 0.1; });
    return out.pow(2).mean();
  });
}

TEST(Hooks, ThatComeOrGoBetweenStepsAreHonoured) {
  const auto play = [](auto& learner, Net& net) {
    learner.step(batch_of(0));
    const auto hook = net->first->weight.register_hook([](torch::Tensor g) { return g * 2; });
    learner.step(batch_of(1));
    net->first->weight.remove_hook(hook);
    learner.step(batch_of(2));
    return weights(learner);
  };
  expect_like_eager(
      [&](World& world) {
        Net net;
        OurLearner<Net> learner(world, net, plain_loss);
        return play(learner, net);
      },
      [&](World& world) {
        Net net;
        EagerLearner<Net> learner(world, net, plain_loss);
        return play(learner, net);
      });
}

// What a hook multiplies by may change, too.
TEST(Hooks, GoOnWithTheStateOfNow) {
  const auto play = [](auto& learner, double& factor) {
    for (int64_t step = 0; step < 3; ++step, factor += 0.5) learner.step(batch_of(step));
    return weights(learner);
  };
  const auto with_hook = [](double& factor) {
    Net net;
    net->first->weight.register_hook([&factor](torch::Tensor g) { return g * factor; });
    return net;
  };
  expect_like_eager(
      [&](World& world) {
        double factor = 1;
        OurLearner<Net> learner(world, with_hook(factor), plain_loss);
        return play(learner, factor);
      },
      [&](World& world) {
        double factor = 1;
        EagerLearner<Net> learner(world, with_hook(factor), plain_loss);
        return play(learner, factor);
      });
}

TEST(Hooks, OnTheAccumulationOfAGradientAreRefused) {
  auto accumulator = std::make_shared<c10::intrusive_ptr<torch::autograd::Node>>();
  struct Look : torch::autograd::FunctionPostHook {
    torch::autograd::variable_list operator()(const torch::autograd::variable_list& outputs,
                                              const torch::autograd::variable_list&) override {
      return outputs;
    }
  };
  expect_refused(
      [accumulator](Net& net) {
        *accumulator = torch::autograd::impl::grad_accumulator(net->second->weight);
        (*accumulator)->add_post_hook(std::make_unique<Look>());
      },
      plain_loss,
      "capture - parameter second.weight: it has hooks on the accumulation of its gradient, which no gradient "
      "reaches here; use register_hook on the parameter");
}

TEST(PastTheOperators, DataOfAParameterIsItsValueWithoutGradient) {
  expect_honoured(nothing, [](Net& net, const Batch& batch) {
    return (net(batch[0]) * net->second->bias.data() + net->first->weight.data().mean()).pow(2).mean();
  });
  expect_honoured(nothing, [](Net& net, const Batch& batch) {
    return net(batch[0]).pow(2).mean() * net->first->weight.variable_data().abs().sum();
  });
  expect_honoured([](Net& net) { net->kept = net->first->weight.detach().narrow(0, 1, 6).t(); },
                  [](Net& net, const Batch& batch) { return torch::mm(net(batch[0]), net->kept).pow(2).mean(); });
  const auto described = describe([] { return Net(); });
  check_capture(
      described,
      [](Net& net, const Batch& batch) {
        return (net(batch[0]) * net->second->bias.data()).pow(2).mean();
      },
      batch_of(0));
}

TEST(PastTheOperators, AStoredViewOfAParameterHasItsGradient) {
  for (const auto& view : std::vector<std::function<torch::Tensor(const torch::Tensor&)>>{
           [](const torch::Tensor& w) { return w.narrow(0, 1, 6); },
           [](const torch::Tensor& w) { return w.slice(0, 0, 6); },
           [](const torch::Tensor& w) { return w.view({6, 8}).slice(1, 1, 7); }})
    expect_honoured(
        [view](Net& net) { net->kept = view(net->first->weight); },
        [](Net& net, const Batch& batch) { return torch::mm(net(batch[0]), net->kept).pow(2).mean(); });
}

TEST(PastTheOperators, DataOfABufferTakesNewValues) {
  World world{comm::single()};
  Net net;
  Trainer trainer(
      world, net,
      [](Net& model, const Batch& batch) {
        const auto h = model(batch[0]);
        model->scale.data().copy_(batch[0].mean(0));
        return h.pow(2).mean();
      },
      {.microbatches = 2});
  const Batch batch = batch_of(3);
  trainer.step(batch);
  EXPECT_TRUE(torch::equal(trainer.parameter("scale"), batch[0].slice(0, 2, 4).mean(0)));
}

TEST(PastTheOperators, WritesToAParameterAreRefused) {
  const std::string why = ": forward changes it, which is not supported; keep forward free of side effects on it";
  expect_refused(
      nothing,
      [](Net& net, const Batch& batch) {
        net->first->weight.data().clamp_(-0.1, 0.1);
        return plain_loss(net, batch);
      },
      "capture - parameter first.weight" + why);
  expect_refused(
      nothing,
      [](Net& net, const Batch& batch) {
        for (auto& p : net->parameters()) p.data().narrow(0, 0, 1).zero_();
        return plain_loss(net, batch);
      },
      "capture - parameter first.weight" + why);
  expect_refused(
      nothing,
      [](Net& net, const Batch& batch) {
        const torch::NoGradGuard no_grad;
        net->second->bias.variable_data().mul_(0.5);
        const at::AutoGradMode grad(true);
        return plain_loss(net, batch);
      },
      "capture - parameter second.bias" + why);
}

TEST(PastTheOperators, SetDataInForwardIsRefusedAndUndone) {
  const std::string why =
      ": forward gives it other data (set_data), which is not supported; compute a new tensor and use that";
  expect_refused(
      nothing,
      [](Net& net, const Batch& batch) {
        net->first->weight.set_data(net->first->weight.detach() * 0.5);
        return plain_loss(net, batch);
      },
      "capture - parameter first.weight" + why);
  expect_refused(
      nothing,
      [](Net& net, const Batch& batch) {
        const auto loss = plain_loss(net, batch);
        net->second->bias.set_data(torch::zeros({6}, torch::kCPU));
        return loss;
      },
      "capture - parameter second.bias" + why);
  World world{comm::single()};
  Net net;
  const auto before = net->first->weight.detach().clone();
  OurLearner<Net> learner(world, net, [](Net& model, const Batch& batch) {
    model->first->weight.set_data(model->first->weight.detach() * 0.5);
    return plain_loss(model, batch);
  });
  EXPECT_THROW(learner.step(batch_of(0)), InputError);
  EXPECT_TRUE(torch::equal(net->first->weight.detach(), before));
}

TEST(PastTheOperators, ParametersThatShareMemoryAreRefused) {
  expect_refused([](Net& net) { net->second->bias.set_data(net->scale); }, plain_loss,
                 "capture - buffer scale: it shares memory with parameter second.bias (set_data, or views of one "
                 "tensor), so that each would change with the other; to tie them, register the same tensor under both "
                 "names");
  expect_refused(
      [](Net& net) { net->second->weight.set_data(net->first->weight.data().view({6, 8})); }, plain_loss,
      "capture - parameter second.weight: it shares memory with parameter first.weight (set_data, or views of one "
      "tensor), so that each would change with the other; to tie them, register the same tensor under both names");
  // Views of one buffer that do not overlap are independent.
  expect_honoured(
      [](Net& net) {
        const auto all = torch::linspace(-1, 1, 96).cos();
        net->first->weight.set_data(all.slice(0, 0, 48).view({8, 6}));
        net->second->weight.set_data(all.slice(0, 48, 96).view({6, 8}));
      },
      plain_loss);
}

TEST(PastTheOperators, NumbersReadOrWrittenThroughAPointerAreRefused) {
  const std::string sentence =
      "capture - model: it reads the numbers of a tensor while it is captured (data_ptr, an accessor, printing), and "
      "there are none yet: keep the computation in tensor operators (torch::where instead of if), and print outside "
      "of forward";
  expect_refused(
      nothing,
      [](Net& net, const Batch& batch) { return plain_loss(net, batch) * net->scale.data_ptr<float>()[0]; }, sentence);
  expect_refused(
      nothing,
      [](Net& net, const Batch& batch) {
        net->scale.accessor<float, 1>()[0] += 1;
        return plain_loss(net, batch);
      },
      sentence);
  expect_refused(
      nothing,
      [](Net& net, const Batch& batch) {
        std::ostringstream out;
        out << net(batch[0]);
        return plain_loss(net, batch);
      },
      sentence);
}

}  // namespace
}  // namespace shoal
