// What a user's function throws leaves with its place; losses that are not finite are told; what a device
// does now is what it says it does.
#include <gtest/gtest.h>
#include <torch/torch.h>

#include <cmath>
#include <functional>

#include "base/fault.h"
#include "comm/comm.h"
#include "models/mlp.h"
#include "shoal/shoal.h"
#include "support/expect_error.h"

namespace shoal {
namespace {

using models::Mlp;
const models::MlpConfig kConfig{.inputs = 6, .width = 8, .layers = 1, .outputs = 3};

Batch batch_of(int64_t seed, int64_t samples = 2) {
  const auto generator = at::detail::createCPUGenerator(static_cast<uint64_t>(seed));
  return {torch::randn({samples, kConfig.inputs}, generator),
          torch::randint(kConfig.outputs, {samples}, generator, torch::kLong)};
}
Batch data(int64_t m) { return batch_of(m); }
torch::Tensor loss(Mlp& mlp, const Batch& batch) {
  return torch::cross_entropy_loss(mlp(batch[0]), batch[1]);
}
auto model() {
  return describe([] { return Mlp(kConfig); });
}

// Ways to throw, and what is said of each.
const std::vector<std::pair<std::function<void()>, std::string>> kThrows = {
    {[] { throw std::out_of_range("index 7"); }, "std::out_of_range: index 7"},
    {[] { throw 42; }, "an exception of type int"},
    {[] { TORCH_CHECK_INDEX(false, "sample 9 is not there"); }, "c10::IndexError: sample 9 is not there"},
    {[] { throw JobError("disk - read: got nothing"); }, "disk - read: got nothing"},
    {[] { throw BrokenInvariant("a promise"); }, "internal error: a promise"},
    {[] { throw std::bad_alloc(); },
     "memory: the system gives this device no more; use more devices, or smaller microbatches"},
};

struct UserErrors : testing::Test {
  World world{comm::single()};
};

TEST_F(UserErrors, OfTheDataFunctionSayStepAndMicrobatch) {
  for (const auto& [fail, told] : kThrows) {
    Trainer trainer(world, model(), loss, {.microbatches = 4});
    trainer.step(data);
    for (const int64_t at : {0, 3})
      EXPECT_ERROR(trainer.step([&](int64_t m) {
        if (m == at) fail();
        return data(m);
      }),
                   JobError, "step 1: microbatch " + std::to_string(at) + " of the data function - " + told);
    trainer.step(data);  // one device may go on
    EXPECT_ERROR(trainer.evaluate(3,
                                  [&](int64_t i) {
                                    if (i == 2) fail();
                                    return data(i);
                                  }),
                 JobError, "after step 1: batch 2 of evaluate's data function - " + told);
  }
}

TEST_F(UserErrors, KeepTheirKindAndTheOriginal) {
  Trainer trainer(world, model(), loss, {});
  EXPECT_ERROR(trainer.step([](int64_t) -> Batch { throw InputError("sample 7 - cannot be read"); }),
               InputError, "step 0: microbatch 0 of the data function - sample 7 - cannot be read");
  struct Mine : InputError {
    using InputError::InputError;
  };
  try {
    trainer.step([](int64_t) -> Batch { throw Mine("sample 8"); });
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.exit_code(), 2);
    EXPECT_THROW(std::rethrow_if_nested(error), Mine);
  }
  try {
    trainer.step([](int64_t) -> Batch { throw std::out_of_range("x"); });
    FAIL();
  } catch (const JobError& error) {
    EXPECT_EQ(error.exit_code(), 1);
    EXPECT_THROW(std::rethrow_if_nested(error), std::out_of_range);
  }
}

TEST_F(UserErrors, OfTheLossSayThatItWasCaptured) {
  const auto failing = [](Mlp& mlp, const Batch& batch) {
    if (batch[0].size(0) == 3) throw std::runtime_error("three");
    if (!mlp->is_training()) throw 42;
    return loss(mlp, batch);
  };
  Trainer trainer(world, model(), failing, {});
  EXPECT_ERROR(trainer.prepare(batch_of(1, 3)), JobError,
               "before step 0: prepare: capture - std::runtime_error: three");
  trainer.step(data);
  EXPECT_ERROR(trainer.step(batch_of(1, 3)), JobError, "step 1: capture - std::runtime_error: three");
  EXPECT_ERROR(trainer.evaluate(1, data), JobError,
               "after step 0: evaluate batch 0 - an exception of type int");
}

TEST_F(UserErrors, OfAKernelSayWhichMicrobatch) {
  Trainer trainer(world, model(), loss, {.microbatches = 3});
  trainer.step(data);
  const auto with_wrong_label = [](int64_t m) {
    Batch batch = data(m);
    if (m == 2) batch[1][0] = 7;
    return batch;
  };
  EXPECT_ERROR(
      trainer.step(with_wrong_label), JobError,
      "step 1: compute microbatch 2 - operator aten::nll_loss_forward of layers.1 - failed: Target 7 is out of bounds.");
  EXPECT_ERROR(trainer.evaluate(3, with_wrong_label), JobError,
               "after step 0: evaluate batch 2 - operator aten::nll_loss_forward of layers.1 - failed: Target 7 "
               "is out of bounds.");
}

TEST(UserErrorsOfRanks, NameTheRankOnAllOfThem) {
  for (const Layout& layout :
       {Layout{.dp = 2}, Layout{.dp = 2, .zero = 3}, Layout{.tp = 2}, Layout{.servers = 1}}) {
    const bool serves = layout.servers > 0;  // it looks at the first microbatch only
    const std::string want = std::string("rank 1, step 1: microbatch ") + (serves ? "0" : "3") +
                             " of the data function - std::out_of_range: index 7";
    std::vector<std::string> sentences(2);
    EXPECT_ERROR(World::threads(2,
                                [&](World& some) {
                                  Trainer trainer(
                                      some, describe([] { return Mlp(models::MlpConfig{6, 64, 2, 4}); }),
                                      loss, {.microbatches = 4, .tensor_chunks = 2, .layout = layout});
                                  trainer.step(data);
                                  try {
                                    trainer.step([&](int64_t m) {
                                      if (some.rank() == 1 && m == (serves ? 0 : 3))
                                        throw std::out_of_range("index 7");
                                      return data(m);
                                    });
                                  } catch (const Error& error) {
                                    sentences[static_cast<size_t>(some.rank())] = error.what();
                                    throw;
                                  }
                                }),
                 JobError, want);
    EXPECT_EQ(sentences, std::vector<std::string>(2, want)) << print(layout);
  }
}

TEST(UserErrorsOfRanks, BetweenStepsSayAfterWhich) {
  std::string other;
  EXPECT_THROW(World::threads(2,
                              [&](World& some) {
                                Trainer trainer(some, model(), loss, {.microbatches = 2});
                                for (int i = 0; i < 3; ++i) trainer.step(data);
                                if (some.rank() == 1) throw 42;
                                try {
                                  trainer.step(data);
                                } catch (const JobError& error) {
                                  other = error.what();
                                  throw;
                                }
                              }),
               int);
  EXPECT_EQ(other, "rank 1, after step 2 - an exception of type int");
}

TEST_F(UserErrors, OfTheBodyOfAMainFunctionArePrintedWithTheirPlace) {
  const auto printed = [](const std::function<void(World&)>& body, int code) {
    testing::internal::CaptureStderr();
    char name[] = "program";
    char* arguments[] = {name, nullptr};
    EXPECT_EQ(guarded_main(1, arguments, body), code);
    return testing::internal::GetCapturedStderr();
  };
  EXPECT_EQ(printed([](World&) { throw std::runtime_error("no such table"); }, 1),
            "std::runtime_error: no such table\n");
  EXPECT_EQ(printed([](World&) { throw 42; }, 1), "an exception of type int\n");
  EXPECT_EQ(printed([](World&) { throw InputError("table - rows: got 0"); }, 2), "table - rows: got 0\n");
  EXPECT_EQ(printed([](World&) { throw BrokenInvariant("a promise"); }, 1), "internal error: a promise\n");
  EXPECT_EQ(printed(
                [](World& some) {
                  Trainer trainer(some, model(), loss, {});
                  trainer.step(data);
                  throw std::runtime_error("no such table");
                },
                1),
            "after step 0 - std::runtime_error: no such table\n");
  EXPECT_EQ(printed(
                [](World& some) {
                  Trainer trainer(some, model(), loss, {});
                  trainer.step([](int64_t) -> Batch { throw std::out_of_range("index 7"); });
                },
                1),
            "step 0: microbatch 0 of the data function - std::out_of_range: index 7\n");
}

TEST_F(UserErrors, WhatADeviceDoesIsSaidAsItDoesIt) {
  std::vector<std::string> said;
  const auto note = [&] { said.push_back(world.communicator().activity()); };
  Trainer trainer(world, model(),
                  [&](Mlp& mlp, const Batch& batch) {
                    note();
                    return loss(mlp, batch);
                  },
                  {.microbatches = 2});
  const auto noting = [&](int64_t m) {
    note();
    return data(m);
  };
  trainer.step(noting);
  note();
  trainer.step(noting);
  note();
  trainer.evaluate(1, noting);
  note();
  EXPECT_ERROR(trainer.load("nowhere"), InputError, "nowhere - no such file or folder; want a checkpoint (a folder with manifest.json) or a folder of "
               "checkpoints");
  note();
  EXPECT_EQ(said,
            (std::vector<std::string>{"step 0: microbatch 0 of the data function",
                                      "step 0: capture",  // and once more, to see that it does the same
                                      "step 0: capture", "step 0: microbatch 1 of the data function",
                                      "step 0: compute microbatch 1", "after step 0",
                                      "step 1: microbatch 0 of the data function", "step 1",
                                      "step 1: microbatch 1 of the data function",
                                      "step 1: compute microbatch 1", "after step 1",
                                      "after step 1: batch 0 of evaluate's data function",
                                      "after step 1: evaluate batch 0", "after step 1: evaluate batch 0",
                                      "after step 1", "after step 1"}));
}

// --- Losses that are not finite, with gradients that are ---

// A mean over the labels that are not ignored.
torch::Tensor valid_mean(Mlp& mlp, const Batch& batch) {
  return torch::nn::functional::cross_entropy(
      mlp(batch[0]), batch[1], torch::nn::functional::CrossEntropyFuncOptions().ignore_index(-1));
}

std::string not_finite(const std::string& which, const std::string& kind) {
  return "step 1 - loss of microbatch " + which + ": got " + kind +
         " value, though every gradient is finite; the weights are those of the step before. A mean over no "
         "elements gives this (every target of the microbatch is ignored): divide a sum by a count that is "
         "never 0";
}

TEST(LossThatIsNotFinite, EndsTheStepOnEveryDeviceAndNamesTheMicrobatches) {
  for (const Layout& layout : {Layout{}, Layout{.dp = 2}, Layout{.dp = 2, .zero = 3}, Layout{.servers = 1}}) {
    std::vector<torch::Tensor> weights(static_cast<size_t>(layout.devices()));
    World::threads(static_cast<int>(layout.devices()), [&](World& some) {
      Trainer trainer(some, model(), valid_mean, {.microbatches = 4, .layout = layout});
      trainer.step(data);
      const torch::Tensor before = trainer.parameter("layers.0.weight").clone();
      EXPECT_ERROR(trainer.step([](int64_t m) {
        Batch batch = data(m);
        if (m != 2) batch[1].fill_(-1);
        return batch;
      }),
                   JobError, not_finite("0, 1, 3", "a NaN"));
      EXPECT_TRUE(torch::equal(trainer.parameter("layers.0.weight"), before));
      EXPECT_TRUE(std::isfinite(trainer.step(data).loss));  // all of them may go on
    });
  }
}

TEST_F(UserErrors, AnInfiniteLossIsOneToo) {
  Trainer trainer(world, model(),
                  [](Mlp& mlp, const Batch& batch) { return loss(mlp, batch) + batch[2].mean(); }, {});
  const auto with = [](float offset) {
    Batch batch = batch_of(1);
    batch.push_back(torch::full({2}, offset));
    return batch;
  };
  trainer.step(with(0));
  EXPECT_ERROR(trainer.step(with(INFINITY)), JobError, not_finite("0", "an infinite"));
}

// The way to train on the mean over all valid labels of the global batch: a sum, times a factor that comes
// with the batch.
TEST_F(UserErrors, AMeanOverAllValidLabelsIsASumTimesAFactorOfTheBatch) {
  constexpr int64_t kMicrobatches = 4;
  Batch global = batch_of(3, 8);
  for (const int64_t ignored : {0, 1, 2, 4, 5, 7}) global[1][ignored] = -1;  // one microbatch has none left
  const auto sum = [](Mlp& mlp, const Batch& batch) {
    return torch::nn::functional::cross_entropy(
               mlp(batch[0]), batch[1],
               torch::nn::functional::CrossEntropyFuncOptions().ignore_index(-1).reduction(torch::kSum)) *
           batch[2][0];
  };
  torch::manual_seed(5);
  Mlp eager(kConfig);
  Trainer trainer(world, model(), sum,
                  {.optimizer = Sgd{.lr = 0.5}, .microbatches = kMicrobatches, .seed = 5});
  const double valid = (global[1] >= 0).sum().item<double>();
  Batch with_factor = global;
  with_factor.push_back(torch::full({8}, kMicrobatches / valid, torch::kFloat));
  const StepResult result = trainer.step(with_factor);

  const torch::Tensor want = valid_mean(eager, global);
  EXPECT_NEAR(result.loss, want.item<float>(), 1e-6);
  torch::optim::SGD sgd(eager->parameters(), 0.5);
  want.backward();
  sgd.step();
  for (const auto& p : eager->named_parameters())
    EXPECT_TRUE(torch::allclose(trainer.parameter(p.key()), p.value(), 1e-5, 1e-6)) << p.key();
}

}  // namespace
}  // namespace shoal
