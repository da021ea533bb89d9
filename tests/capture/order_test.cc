// The order of a captured backward pass is the model's alone: not of what the process did before.
#include <gtest/gtest.h>
#include <torch/torch.h>

#include <mutex>
#include <thread>

#include "capture/capture.h"
#include "comm/comm.h"
#include "kernels/cpu/cpu_device.h"
#include "shoal/shoal.h"
#include "support/eager_loop.h"

namespace shoal {
namespace {

namespace nn = torch::nn;

struct CriticImpl : nn::Module {
  CriticImpl() {
    first = register_module("first", nn::Linear(6, 16));
    second = register_module("second", nn::Linear(16, 16));
    third = register_module("third", nn::Linear(16, 1));
  }
  torch::Tensor forward(const torch::Tensor& x) {
    const auto h = torch::tanh(first(x));
    return third(torch::silu(second(h)) + h).pow(2);
  }
  nn::Linear first{nullptr}, second{nullptr}, third{nullptr};
};
TORCH_MODULE(Critic);

// As WGAN-GP has it: the norm of a gradient is a part of the loss, so the backward pass is differentiated.
torch::Tensor penalised(Critic& critic, const Batch& batch) {
  const auto x = batch[0].detach().clone().requires_grad_();
  const auto y = critic(x);
  const auto slope =
      torch::autograd::grad({y}, {x}, {torch::ones_like(y)}, /*retain_graph=*/true, /*create_graph=*/true)[0];
  return y.mean() + 10 * (slope.norm(2, 1) - 1).pow(2).mean();
}

Batch batch_of(int64_t i) {
  return {torch::sin(torch::arange(24, torch::kFloat).add(static_cast<float>(i) * 7)).view({4, 6})};
}

std::string text_of(Critic critic) {
  const std::vector types = {graph::type_of(batch_of(0)[0])};
  return graph::print(
      capture::capture_training(kernels::cpu(), with_loss(critic, penalised), types, Precision::kFP32));
}

TEST(Order, EveryCaptureOfAModelReadsTheSame) {
  Critic critic;
  const std::string first = text_of(critic);
  for (int i = 0; i < 3; ++i) EXPECT_EQ(text_of(critic), first) << i;
  std::string elsewhere;  // a thread that has made nothing yet
  std::thread([&] { elsewhere = text_of(critic); }).join();
  EXPECT_EQ(elsewhere, first);
}

TEST(Order, AGradientPenaltyIsEagersToTheBit) {
  torch::manual_seed(3);
  Critic theirs;
  torch::manual_seed(3);
  Critic ours;
  const auto want = test::eager_adamw_loop(*theirs, 5, 1, {1e-2, 0.9, 0.999, 1e-8, 0.01},
                                           [&](int64_t step, int64_t) {
                                             Critic holder = theirs;
                                             return penalised(holder, batch_of(step));
                                           });
  World world(comm::single());
  Trainer trainer(world, ours, penalised, {.optimizer = AdamW{.lr = 1e-2}});
  for (int64_t step = 0; step < 5; ++step)
    EXPECT_EQ(trainer.step(batch_of(step)).loss, want[static_cast<size_t>(step)]) << step;
}

TEST(Order, RanksThatDidOtherThingsBeforeTrainTheSame) {
  std::vector<float> losses;
  std::mutex mutex;
  for (const int devices : {1, 2})
    World::threads(devices, [&](World& world) {
      const auto critic = describe([] { return Critic(); });
      if (world.rank() == 1) check_capture(critic, penalised, batch_of(0));
      Trainer trainer(world, critic, penalised, {.optimizer = AdamW{.lr = 1e-2}, .microbatches = 2});
      float last = 0;
      for (int64_t step = 0; step < 5; ++step)
        last = trainer.step([&](int64_t m) { return batch_of(2 * step + m); }).loss;
      const std::lock_guard lock(mutex);
      losses.push_back(last);
    });
  ASSERT_EQ(losses.size(), 3u);
  EXPECT_EQ(losses[1], losses[0]);
  EXPECT_EQ(losses[2], losses[0]);
}

}  // namespace
}  // namespace shoal
