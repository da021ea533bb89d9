// What a model's code keeps from one call to the next.
#include <gtest/gtest.h>
#include <torch/torch.h>

#include <map>

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
  using Forward = std::function<torch::Tensor(NetImpl&, const torch::Tensor&)>;
  explicit NetImpl(Forward forward_in) : code(std::move(forward_in)) {
    first = register_module("first", nn::Linear(6, 6));
    const torch::NoGradGuard no_grad;
    for (torch::Tensor& parameter : parameters())
      parameter.copy_(torch::linspace(-1, 1, parameter.numel()).mul(3).sin().mul(0.5).view(parameter.sizes()));
  }
  torch::Tensor forward(const torch::Tensor& x) { return code(*this, x); }
  Forward code;
  nn::Linear first{nullptr};
  torch::Tensor kept;  // whatever the code keeps
  std::vector<torch::Tensor> list;
  std::map<int64_t, torch::Tensor> by_size;
};
TORCH_MODULE(Net);

Batch batch_of(int64_t step) {
  return {torch::linspace(0, 1 + 0.1 * static_cast<double>(step), 24).mul(11).cos().view({4, 6})};
}
torch::Tensor loss(Net& net, const Batch& batch) { return net(batch[0]).pow(2).mean(); }

void expect_carried_state_refused(const NetImpl::Forward& forward, const std::string& shape) {
  const std::string sentence = "capture - tensor f32" + shape +
                               ": forward kept it from an earlier call (in a member, say), and the state that one call "
                               "leaves to the next is not carried; make it anew in each call, or put it in the batch";
  World world{comm::single()};
  Trainer built(world, Net(forward), loss);
  EXPECT_ERROR(built.step(batch_of(0)), InputError, sentence);
  Trainer described(world, describe([&] { return Net(forward); }), loss);
  EXPECT_ERROR(described.step(batch_of(0)), InputError, sentence);
}

TEST(HostState, ThatACallCarriesToTheNextIsRefused) {
  expect_carried_state_refused(
      [](NetImpl& net, const torch::Tensor& x) {
        if (!net.kept.defined()) net.kept = torch::zeros({4, 6});
        return net.kept = torch::tanh(net.first(x) + net.kept.detach());
      },
      "[4,6]");
  expect_carried_state_refused(
      [](NetImpl& net, const torch::Tensor& x) {
        const auto h = net.first(x);
        const auto out = net.list.empty() ? h : h + net.list.back();
        net.list.push_back(h.detach().mean(0));
        return out;
      },
      "[6]");
  expect_carried_state_refused(
      [](NetImpl& net, const torch::Tensor& x) {  // a function of parameters that is computed once
        if (!net.kept.defined()) net.kept = net.first->weight.detach() / net.first->weight.detach().norm();
        return torch::mm(net.first(x), net.kept);
      },
      "[6,6]");
  expect_carried_state_refused(
      [](NetImpl& net, const torch::Tensor& x) {  // noise that is drawn once
        if (!net.kept.defined()) net.kept = torch::dropout(torch::ones({6}), 0.5, true);
        return net.first(x) * net.kept;
      },
      "[6]");
}

TEST(HostState, ThatAConstructorMadeAndACallReplacesIsRefused) {
  World world{comm::single()};
  Net net([](NetImpl& self, const torch::Tensor& x) {
    return self.kept = torch::tanh(self.first(x) + self.kept.detach());
  });
  net->kept = torch::zeros({4, 6});
  Trainer trainer(world, net, loss);
  EXPECT_ERROR(trainer.step(batch_of(0)), InputError,
               "capture - tensor f32[4,6]: forward kept it from an earlier call (in a member, say), and the state that "
               "one call leaves to the next is not carried; make it anew in each call, or put it in the batch");
}

template <class Learner>
std::vector<torch::Tensor> play(World& world, const NetImpl::Forward& forward) {
  Learner learner(world, Net(forward), loss);
  for (int64_t step = 0; step < 4; ++step) learner.step(batch_of(step));
  return {learner.parameter("first.weight"), learner.parameter("first.bias")};
}

void expect_honoured(const NetImpl::Forward& forward) {
  expect_like_eager([&](World& world) { return play<OurLearner<Net>>(world, forward); },
                    [&](World& world) { return play<EagerLearner<Net>>(world, forward); });
  check_capture(Net(forward), loss, batch_of(0));
  World world{comm::single()};
  Trainer trainer(world, describe([&] { return Net(forward); }), loss);
  trainer.step(batch_of(0));
  trainer.evaluate(1, [](int64_t) { return batch_of(7); });
  trainer.step(batch_of(1));
  check_capture(describe([&] { return Net(forward); }), loss, batch_of(0));
}

TEST(HostState, ThatDependsOnSizesAloneIsComputedOnce) {
  expect_honoured([](NetImpl& net, const torch::Tensor& x) {  // rotary tables, a cached mask
    if (!net.kept.defined()) net.kept = torch::arange(6).to(torch::kFloat).mul(0.3).cos();
    return net.first(x) * net.kept;
  });
  expect_honoured([](NetImpl& net, const torch::Tensor& x) {
    torch::Tensor& mask = net.by_size[x.size(0)];
    if (!mask.defined()) mask = torch::full({x.size(0), x.size(0)}, -1e9).triu_(1);
    return torch::mm(torch::softmax(mask, 1), net.first(x));
  });
  expect_honoured([](NetImpl& net, const torch::Tensor& x) {
    if (net.list.empty()) {
      const auto angles = torch::outer(torch::arange(1, 3), torch::linspace(1, 2, 6));
      net.list = {angles[0].cos(), angles[1].sin()};
    }
    return net.first(x) * net.list[0] + net.first(x).flip(1) * net.list[1];
  });
}

TEST(HostState, ThatNobodyReadsAgainIsLeftAlone) {
  expect_honoured([](NetImpl& net, const torch::Tensor& x) {  // for a look at it later
    net.kept = torch::softmax(net.first(x), 1).detach();
    return net.first(x);
  });
  expect_honoured([](NetImpl& net, const torch::Tensor& x) {
    const auto h = net.first(x);
    net.list.push_back(h);
    return h.exp();
  });
}

TEST(HostState, TheConstructorOfADescribedModelMayKeepKnownNumbers) {
  check_capture(describe([] {
                  Net net([](NetImpl& self, const torch::Tensor& x) { return self.first(x) * self.kept; });
                  net->kept = torch::arange(6).to(torch::kFloat).add(1).log();
                  return net;
                }),
                loss, batch_of(0));
}

}  // namespace
}  // namespace shoal
