// The modes of submodules are the user's: before, during and after training and evaluation.
#include <gtest/gtest.h>
#include <torch/torch.h>

#include <mutex>

#include "comm/comm.h"
#include "session/small_net.h"
#include "shoal/shoal.h"
#include "support/eager_loop.h"

namespace shoal {
namespace {

namespace nn = torch::nn;

using test::batch_of;
using test::built;
using test::loss;
using test::Net;
using test::NetImpl;

constexpr AdamW kAdamW{.lr = 1e-2};

// Eager's losses, with `before_step` called on the module before each step.
std::vector<float> eagerly(Net net, int64_t steps, const std::function<void(Net&, int64_t)>& before_step) {
  return test::eager_adamw_loop(*net, steps, 1, {1e-2, 0.9, 0.999, 1e-8, 0.01}, [&](int64_t step, int64_t) {
    before_step(net, step);
    return loss(net, batch_of(step));
  });
}

void expect_as_eager(const std::function<void(Net&, int64_t)>& before_step) {
  Net theirs = built(), ours = built();
  const std::vector<float> want = eagerly(theirs, 6, before_step);
  World world(comm::single());
  Trainer trainer(world, ours, loss, {.optimizer = kAdamW});
  for (int64_t step = 0; step < 6; ++step) {
    before_step(ours, step);
    EXPECT_EQ(trainer.step(batch_of(step)).loss, want[static_cast<size_t>(step)]) << step;
  }
  for (const auto& parameter : theirs->named_parameters())
    EXPECT_TRUE(torch::equal(trainer.parameter(parameter.key()), parameter.value())) << parameter.key();
  for (const char* buffer : {"norm.running_mean", "norm.running_var"})
    EXPECT_TRUE(torch::equal(trainer.parameter(buffer), theirs->named_buffers()[buffer])) << buffer;
  // As the user's evaluation would have it.
  theirs->eval();
  EXPECT_EQ(trainer.evaluate(1, [](int64_t) { return batch_of(9); }),
            static_cast<double>(loss(theirs, batch_of(9)).item<float>()));
}

TEST(Modes, ASubmoduleInEvalStaysThere) {
  expect_as_eager([](Net& net, int64_t step) {
    if (step == 0) net->norm->eval();
  });
}

TEST(Modes, AWholeModuleInEvalStaysThere) {
  expect_as_eager([](Net& net, int64_t step) {
    if (step == 0) net->eval();
  });
}

TEST(Modes, AChangeBetweenStepsIsHonoured) {
  expect_as_eager([](Net& net, int64_t step) {
    if (step == 2) net->norm->eval();
    if (step == 4) net->train();
  });
}

TEST(Modes, AnEvaluationLeavesEveryFlagAsItWas) {
  World world(comm::single());
  Net net = built();
  net->norm->eval();
  Trainer trainer(world, net,
                  [](Net& net, const Batch& batch) {
                    if (!net->is_training() && batch[0].size(0) == 4)
                      throw std::runtime_error("no evaluation today");
                    return loss(net, batch);
                  },
                  {.optimizer = kAdamW});
  const auto flags = [&] {
    return std::vector<bool>{net->is_training(), net->first->is_training(), net->norm->is_training()};
  };
  const std::vector<bool> want = {true, true, false};
  trainer.step(batch_of(0));
  EXPECT_EQ(flags(), want);
  trainer.evaluate(2, batch_of);
  EXPECT_EQ(flags(), want);
  EXPECT_ANY_THROW(trainer.evaluate(1, [](int64_t i) {
    Batch batch = batch_of(i);
    for (torch::Tensor& tensor : batch) tensor = tensor.slice(0, 0, 4);
    return batch;
  }));
  EXPECT_EQ(flags(), want);
}

// A train() of its own: keeps its norm in eval, and counts.
struct StubbornImpl : NetImpl {
  void train(bool on) override {
    nn::Module::train(on);
    norm->eval();
    ++calls;
  }
  int calls = 0;
};
TORCH_MODULE(Stubborn);

TEST(Modes, AnOverriddenTrainIsCalledAsEagerCodeWould) {
  World world(comm::single());
  Stubborn net;
  net->train(true);
  net->second->eval();
  Trainer trainer(world, net,
                  [](Stubborn& net, const Batch& batch) {
                    return torch::cross_entropy_loss(net(batch[0]), batch[1]);
                  },
                  {.optimizer = kAdamW});
  trainer.step(batch_of(0));
  EXPECT_EQ(net->calls, 1);  // training looks and does not touch
  trainer.evaluate(1, batch_of);
  EXPECT_EQ(net->calls, 3);
  EXPECT_TRUE(net->is_training());
  EXPECT_TRUE(net->first->is_training());
  EXPECT_FALSE(net->norm->is_training());
  EXPECT_FALSE(net->second->is_training());
}

TEST(Modes, EveryLayoutHonoursThem) {
  std::vector<float> losses;
  std::mutex mutex;
  const auto train = [&](int devices, const Layout& layout) {
    World::threads(devices, [&](World& world) {
      const auto net = describe([] { return Net(); });
      const nn::BatchNorm1d norm = net.module->norm;
      norm.ptr()->eval();
      Trainer trainer(world, net, loss,
                      {.optimizer = kAdamW, .microbatches = 2, .tensor_chunks = 2, .layout = layout});
      float last = 0;
      for (int64_t step = 0; step < 4; ++step) {
        if (step == 2) norm.ptr()->train();
        last = trainer.step([&](int64_t m) { return batch_of(2 * step + m); }).loss;
        trainer.evaluate(3, batch_of);
      }
      const std::lock_guard lock(mutex);
      losses.push_back(last);
    });
  };
  train(1, {});
  train(2, {.dp = 2});
  train(2, {.tp = 2});
  train(2, {.dp = 2, .zero = 3});
  for (float value : losses) EXPECT_EQ(value, losses[0]);
}

}  // namespace
}  // namespace shoal
