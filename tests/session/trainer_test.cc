#include "shoal/trainer.h"

#include <gtest/gtest.h>
#include <torch/torch.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <limits>
#include <mutex>

#include "comm/group.h"
#include "models/mlp.h"
#include "shoal/shoal.h"
#include "support/eager_loop.h"
#include "support/expect_error.h"

namespace shoal {
namespace {

using models::Mlp;
const models::MlpConfig kConfig{.inputs = 6, .width = 9, .layers = 1, .outputs = 3};

torch::Tensor loss(Mlp& mlp, const Batch& batch) {
  return torch::cross_entropy_loss(mlp(batch[0]), batch[1]);
}

Batch batch_of(int64_t seed, int64_t samples = 4) {
  const auto generator = at::detail::createCPUGenerator(static_cast<uint64_t>(seed));
  return {torch::randn({samples, kConfig.inputs}, generator),
          torch::randint(kConfig.outputs, {samples}, generator, torch::kLong)};
}

auto model() {
  return describe([] { return Mlp(kConfig); });
}

struct TrainerTest : testing::Test {
  World world{comm::single()};
};

TEST_F(TrainerTest, LearnsWhatItSees) {
  Trainer trainer(world, model(), loss, {.optimizer = AdamW{.lr = 1e-2}, .microbatches = 2});
  const Batch batch = batch_of(1);
  const float first = trainer.step(batch).loss;
  for (int i = 0; i < 60; ++i) trainer.step(batch);
  EXPECT_LT(trainer.step(batch).loss, 0.5f * first);
  EXPECT_EQ(trainer.steps_done(), 62);
  EXPECT_EQ(trainer.samples_done(), 62 * 4);
}

TEST_F(TrainerTest, SgdGivesEagersBits) {
  for (const bool nesterov : {false, true}) {
    torch::manual_seed(9);
    Mlp eager(kConfig);
    Trainer trainer(
        world, model(), loss,
        {.optimizer =
             Sgd{.lr = 0.1, .momentum = 0.9, .weight_decay = 0.01, .nesterov = nesterov, .decay_all = true},
         .microbatches = 2,
         .seed = 9});
    std::vector<torch::Tensor> momentum;
    for (const auto& p : eager->parameters()) momentum.push_back(torch::zeros_like(p));
    for (int64_t step = 0; step < 5; ++step) {
      trainer.step([&](int64_t m) { return batch_of(10 * step + m); });
      std::vector<std::vector<torch::Tensor>> gradients;
      for (int64_t m = 0; m < 2; ++m)
        gradients.push_back(
            torch::autograd::grad({loss(eager, batch_of(10 * step + m))}, eager->parameters()));
      const torch::NoGradGuard no_grad;
      for (size_t i = 0; i < momentum.size(); ++i) {
        torch::Tensor parameter = eager->parameters()[i], gradient = gradients[0][i] + gradients[1][i];
        at::_fused_sgd_({parameter}, {gradient}, {momentum[i]}, 0.01, 0.9, 0.1, 0.0, nesterov, false,
                        step == 0, torch::full({}, 2.0f));
      }
    }
    for (const auto& p : eager->named_parameters())
      EXPECT_TRUE(torch::equal(trainer.parameter(p.key()), p.value())) << p.key() << " nesterov " << nesterov;
  }
}

TEST_F(TrainerTest, ClipsByTheGlobalNorm) {
  const TrainerOptions plain{.optimizer = Sgd{.lr = 1.0}};
  TrainerOptions clipped = plain;
  clipped.clip_norm = 1e-3;
  Trainer a(world, model(), loss, plain), b(world, model(), loss, clipped);
  a.prepare(batch_of(1));
  const torch::Tensor before = a.parameter("layers.0.weight").clone();
  const StepResult ra = a.step(batch_of(1)), rb = b.step(batch_of(1));
  EXPECT_EQ(ra.grad_norm, rb.grad_norm);
  const torch::Tensor da = a.parameter("layers.0.weight") - before,
                      db = b.parameter("layers.0.weight") - before;
  EXPECT_TRUE(torch::allclose(db, da * (1e-3 / ra.grad_norm), 1e-2, 1e-8));
}

TEST_F(TrainerTest, NormsAndBiasesDoNotDecayUnlessAsked) {
  for (const bool all : {false, true}) {
    auto described = model();
    Trainer trainer(world, described, [](Mlp& mlp, const Batch& batch) { return (mlp(batch[0]) * 0).sum(); },
                    {.optimizer = Sgd{.lr = 0.1, .weight_decay = 1.0, .decay_all = all}});
    trainer.prepare(batch_of(1));
    const torch::Tensor weight = trainer.parameter("layers.0.weight").clone(),
                        bias = trainer.parameter("layers.0.bias").clone();
    trainer.step(batch_of(1));
    EXPECT_FALSE(torch::equal(trainer.parameter("layers.0.weight"), weight));
    EXPECT_EQ(torch::equal(trainer.parameter("layers.0.bias"), bias), !all);
  }
}

TEST_F(TrainerTest, FrozenAndUnusedParametersStayAndAreSaved) {
  torch::manual_seed(1);
  Mlp mlp(kConfig);
  mlp->named_parameters()["layers.0.weight"].requires_grad_(false);
  const torch::Tensor frozen = mlp->named_parameters()["layers.0.weight"].detach().clone();
  Trainer trainer(world, mlp, loss, {.optimizer = AdamW{.lr = 0.1}});
  for (int i = 0; i < 3; ++i) trainer.step(batch_of(i));
  EXPECT_TRUE(torch::equal(trainer.parameter("layers.0.weight"), frozen));
  EXPECT_TRUE(
      torch::equal(trainer.parameter("layers.1.weight"), mlp->named_parameters()["layers.1.weight"]));

  const auto folder =
      std::filesystem::temp_directory_path() / ("shoal-trainer-test-" + std::to_string(::getpid()));
  trainer.save(folder / "step-3");
  Mlp fresh(kConfig);
  fresh->named_parameters()["layers.0.weight"].requires_grad_(false);
  Trainer again(world, fresh, loss, {.optimizer = AdamW{.lr = 0.1}});
  again.prepare(batch_of(0));
  again.load(folder / "step-3");
  EXPECT_EQ(again.steps_done(), 3);
  for (const char* name : {"layers.0.weight", "layers.0.bias", "layers.1.weight", "layers.1.bias"})
    EXPECT_TRUE(torch::equal(again.parameter(name), trainer.parameter(name))) << name;
  EXPECT_EQ(again.step(batch_of(9)).loss, trainer.step(batch_of(9)).loss);

  Trainer other(world, fresh, loss, {.optimizer = AdamW{.lr = 0.2}});
  other.prepare(batch_of(0));
  EXPECT_ERROR(other.load(folder / "step-3"), InputError,
               "checkpoint - run: its optimizer.lr is 0.1, this run's is 0.2; a run goes on only as it "
               "began, so give it the same settings or start a new one");
  std::filesystem::remove_all(folder);
}

TEST_F(TrainerTest, EvaluationIsTheSameOnAnyNumberOfDevices) {
  std::vector<double> losses;
  std::mutex mutex;
  for (const int devices : {1, 2, 3}) {
    World::threads(devices, [&](World& some) {
      Trainer trainer(
          some, describe([] {
            return Mlp(models::MlpConfig{.inputs = 6, .width = 9, .layers = 1, .outputs = 3, .dropout = 0.5});
          }),
          loss, {.microbatches = 3});
      trainer.prepare(batch_of(0));
      const double value = trainer.evaluate(5, [](int64_t i) { return batch_of(100 + i); });
      const std::lock_guard lock(mutex);
      losses.push_back(value);
    });
  }
  EXPECT_EQ(losses.size(), 6u);
  for (double value : losses) EXPECT_EQ(value, losses[0]);
}

TEST_F(TrainerTest, NotANumberEndsTheRunBeforeAnyWeightChanges) {
  Trainer trainer(world, model(), loss, {});
  trainer.step(batch_of(1));
  const torch::Tensor before = trainer.parameter("layers.1.weight").clone();
  Batch bad = batch_of(2);
  bad[0][0][0] = std::numeric_limits<float>::quiet_NaN();
  EXPECT_ERROR(trainer.step(bad), JobError,
               "step 1 - gradient of layers.0.weight: got a NaN value, loss nan; the weights are those of "
               "the step before, try a smaller learning rate or clip_norm");
  EXPECT_TRUE(torch::equal(trainer.parameter("layers.1.weight"), before));
}

// Groups of one trainer made another number of exchanges than those of the next: counts of signals differ.
TEST(Trainers, OfUnlikeLayoutsFollowEachOther) {
  const models::MlpConfig config{.inputs = 6, .width = 64, .layers = 2, .outputs = 4};
  std::vector<float> losses;
  std::mutex mutex;
  for (const int devices : {1, 4})
    World::threads(devices, [&](World& some) {
      const auto train = [&](const Layout& layout, int64_t microbatches) {
        Trainer trainer(
            some, describe([&] { return Mlp(config); }), loss,
            {.microbatches = microbatches, .tensor_chunks = 4, .layout = devices == 1 ? Layout{} : layout});
        float last = 0;
        for (int64_t step = 0; step < 3; ++step)
          last = trainer.step([&](int64_t m) { return batch_of(10 * step + m, 2); }).loss;
        const std::lock_guard lock(mutex);
        losses.push_back(last);
      };
      train({.dp = 2, .tp = 2}, 3);  // one group has two microbatches, the other one
      comm::Group(some.communicator()).barrier();
      train({.tp = 4}, 2);
    });
  ASSERT_EQ(losses.size(), 10u);
  EXPECT_EQ(std::count(losses.begin() + 2, losses.end(), losses[0]), 4);
  EXPECT_EQ(std::count(losses.begin() + 2, losses.end(), losses[1]), 4);
}

TEST(Trainers, WhatStopsOneDeviceStopsAll) {
  const auto net =
      describe([] { return Mlp(models::MlpConfig{.inputs = 6, .width = 64, .layers = 2, .outputs = 4}); });
  for (const Layout& layout : {Layout{.dp = 2}, Layout{.dp = 2, .zero = 3}, Layout{.tp = 2}}) {
    std::vector<std::string> sentences(2);
    EXPECT_THROW(World::threads(2,
                                [&](World& some) {
                                  Trainer trainer(some, net, loss,
                                                  {.microbatches = 4, .tensor_chunks = 2, .layout = layout});
                                  for (int step = 0; step < 4; ++step) try {
                                      trainer.step([&](int64_t m) -> Batch {
                                        if (step == 1 && some.rank() == 1 && m == 3)
                                          throw InputError("sample 7 - cannot be read");
                                        return batch_of(step * 4 + m);
                                      });
                                    } catch (const Error& error) {  // and goes on
                                      sentences[static_cast<size_t>(some.rank())] = error.what();
                                    }
                                  trainer.evaluate(2, [](int64_t i) { return batch_of(i); });
                                }),
                 Error);
    for (const std::string& sentence : sentences)
      EXPECT_NE(sentence.find("sample 7 - cannot be read"), std::string::npos) << sentence;
  }
}

TEST(Trainers, WhatIsWrongWithTheBatchOfOneDeviceStopsAll) {
  const auto net =
      describe([] { return Mlp(models::MlpConfig{.inputs = 6, .width = 64, .layers = 2, .outputs = 4}); });
  Batch wrong_label = batch_of(1, 8);
  wrong_label[1][7] = 7;
  // What is found as the batch is looked at, as it is captured, and as it is computed.
  const std::vector<std::pair<Batch, std::string>> faults = {
      {batch_of(1, 6), "batch - size: got 6 samples, want a multiple of 4 (microbatches)"},
      {{batch_of(1, 8)[0], batch_of(1, 8)[1].to(torch::kFloat)}, "capture - model: expected target dtype to be Long or Byte, but got Float"},
      {wrong_label, "rank 1, step 1: compute microbatch 3 - operator "}};
  for (const Layout& layout : {Layout{.dp = 2}, Layout{.dp = 2, .zero = 3}, Layout{.tp = 2}})
    for (const auto& [wrong, want] : faults) {
      std::vector<std::string> sentences(2);
      EXPECT_THROW(World::threads(2,
                                  [&](World& some) {
                                    Trainer trainer(some, net, loss,
                                                    {.microbatches = 4, .tensor_chunks = 2, .layout = layout});
                                    trainer.step(batch_of(0, 8));
                                    try {
                                      trainer.step(some.rank() == 1 ? wrong : batch_of(1, 8));
                                    } catch (const Error& error) {  // and goes on
                                      sentences[static_cast<size_t>(some.rank())] = error.what();
                                    }
                                    trainer.step(batch_of(2, 8));
                                  }),
                   Error);
      for (const std::string& sentence : sentences)
        EXPECT_NE(sentence.find(want), std::string::npos) << print(layout) << ": " << sentence;
    }
}

TEST(Trainers, ACheckpointIsLoadedByAllOrByNone) {
  const models::MlpConfig config{.inputs = 6, .width = 700, .layers = 1, .outputs = 3};
  const auto folder =
      std::filesystem::temp_directory_path() / ("shoal-trainers-test-" + std::to_string(::getpid()));
  std::filesystem::create_directories(folder);
  std::vector<float> went_on(2), whole(2);
  World::threads(2, [&](World& some) {
    const auto rank = static_cast<size_t>(some.rank());
    const TrainerOptions options{.optimizer = AdamW{.lr = 0.01}, .microbatches = 2};
    const auto net = describe([&] { return Mlp(config); });
    Trainer trainer(some, net, loss, options);
    trainer.step(batch_of(1));
    trainer.save(folder / "good");
    trainer.save(folder / "bad");
    whole[rank] = trainer.step(batch_of(2)).loss;
    if (some.rank() == 0) {  // a byte of the last rank's file
      std::filesystem::path last;
      for (const auto& entry : std::filesystem::directory_iterator(folder / "bad"))
        if (entry.path().extension() == ".safetensors") last = std::max(last, entry.path());
      std::fstream file(last, std::ios::in | std::ios::out | std::ios::binary);
      file.seekp(-5, std::ios::end);
      file.put('\x55');
    }
    comm::Group(some.communicator()).barrier();
    Trainer again(some, net, loss, options);
    again.prepare(batch_of(1, 2));
    EXPECT_THROW(again.load(folder / "bad"), InputError);
    EXPECT_ERROR(
        again.step(batch_of(2)), InputError,
        "trainer - step: the last load() failed on the way, so the weights are those of no step; load "
        "another checkpoint first");
    again.load(folder / "good");
    went_on[rank] = again.step(batch_of(2)).loss;
  });
  EXPECT_EQ(went_on, whole);
  std::filesystem::remove_all(folder);
}

TEST_F(TrainerTest, BadBatchesGetOneSentence) {
  Trainer trainer(world, model(), loss, {.microbatches = 3});
  EXPECT_ERROR(trainer.step(batch_of(1, 4)), InputError,
               "batch - size: got 4 samples, want a multiple of 3 (microbatches)");
  EXPECT_ERROR(trainer.step(Batch{}), InputError, "batch - tensors: got none, want at least one");
  Batch uneven = batch_of(1, 6);
  uneven[1] = uneven[1].slice(0, 0, 5);
  EXPECT_ERROR(trainer.step(uneven), InputError, "batch - tensor 1: got 5 samples, want 6 as tensor 0 has");
  EXPECT_ERROR(trainer.step([](int64_t m) { return batch_of(1, m == 2 ? 3 : 2); }), InputError,
               "batch - microbatch 2: got f32[3,6], i64[3], want f32[2,6], i64[2] as the others");
  EXPECT_ERROR(trainer.step(Batch{torch::tensor(1.0)}), InputError,
               "batch - tensor 0: got a scalar, want samples along dim 0");
}

TEST_F(TrainerTest, BadOptionsGetOneSentence) {
  EXPECT_ERROR(Trainer(world, model(), loss, {.microbatches = 0}), InputError,
               "trainer - microbatches: got 0, want 1 or more");
  EXPECT_ERROR(Trainer(world, model(), loss, {.clip_norm = -1}), InputError,
               "trainer - clip_norm: got -1, want 0 (off) or more");
  Trainer trainer(world, model(), loss, {});
  EXPECT_ERROR(trainer.save("nowhere"), InputError,
               "trainer - save: the model has no numbers yet; call prepare() or step() first");
}

TEST(LearningRateSchedule, WarmsUpThenFallsAsACosine) {
  const LearningRateSchedule schedule{.warmup_steps = 4, .total_steps = 14, .final_factor = 0.1};
  EXPECT_DOUBLE_EQ(schedule.factor(0), 0.25);
  EXPECT_DOUBLE_EQ(schedule.factor(3), 1.0);
  EXPECT_DOUBLE_EQ(schedule.factor(4), 1.0);
  EXPECT_DOUBLE_EQ(schedule.factor(9), 0.55);
  EXPECT_DOUBLE_EQ(schedule.factor(14), 0.1);
  EXPECT_DOUBLE_EQ(schedule.factor(1000), 0.1);
  EXPECT_DOUBLE_EQ(LearningRateSchedule{}.factor(1000), 1.0);
}

}  // namespace
}  // namespace shoal
