// Devices that do not bring the same to a step, or are in unlike calls: every one of them says so, in one
// sentence that names the first thing that differs, in every layout, before any weight has moved.
#include <gtest/gtest.h>
#include <torch/torch.h>

#include <chrono>
#include <filesystem>
#include <functional>
#include <mutex>

#include "comm/group.h"
#include "models/mlp.h"
#include "shoal/shoal.h"
#include "support/expect_error.h"

namespace shoal {
namespace {

using models::Mlp;
using Sentences = std::vector<std::string>;

const models::MlpConfig kConfig{.inputs = 6, .width = 64, .layers = 2, .outputs = 4};
const std::string kSame = "; every device must run the same program";

Batch batch_of(int64_t seed, int64_t samples = 2) {
  const auto generator = at::detail::createCPUGenerator(static_cast<uint64_t>(seed));
  return {torch::randn({samples, kConfig.inputs}, generator),
          torch::randint(kConfig.outputs, {samples}, generator, torch::kLong)};
}

torch::Tensor loss(Mlp& mlp, const Batch& batch) {
  return torch::cross_entropy_loss(mlp(batch[0]), batch[1]);
}

// LibTorch's generator is the process's: one rank at a time.
Mlp built(uint64_t seed, const models::MlpConfig& config = kConfig) {
  static std::mutex one_at_a_time;
  const std::lock_guard lock(one_at_a_time);
  torch::manual_seed(seed);
  return Mlp(config);
}

TrainerOptions options_for(const Layout& layout) {
  return {.optimizer = AdamW{.lr = 0.001}, .microbatches = 4, .tensor_chunks = 2, .layout = layout};
}

const std::vector<Layout> kLayouts = {{.dp = 2},
                                      {.dp = 2, .zero = 0},
                                      {.dp = 2, .zero = 3},
                                      {.tp = 2},
                                      {.dp = 2, .tp = 2, .zero = 2},
                                      {.dp = 1, .servers = 1},
                                      {.dp = 2, .servers = 1}};

// What each rank's `body` threw. It must come to its end within ten seconds.
Sentences sentences(const Layout& layout, const std::function<void(World&, bool is_last)>& body) {
  const auto begin = std::chrono::steady_clock::now();
  Sentences all(static_cast<size_t>(layout.devices()));
  World::threads(static_cast<int>(layout.devices()), [&](World& world) {
    std::string& mine = all[static_cast<size_t>(world.rank())];
    try {
      body(world, world.rank() == world.size() - 1);
      mine = "(nothing was thrown)";
    } catch (const InputError& error) {
      mine = error.what();
    } catch (const std::exception& error) {
      mine = std::string("(another type of error) ") + error.what();
    }
    comm::Group(world.communicator()).barrier();  // nobody is left behind
  });
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(10));
  return all;
}

// The last rank differs: `want` is what all say, with its number for "RANK".
void expect_refusal(const std::string& want,
                    const std::function<void(World&, const Layout&, bool is_last)>& body,
                    const std::vector<Layout>& layouts = kLayouts) {
  for (const Layout& layout : layouts) {
    std::string sentence = want;
    sentence.replace(sentence.find("RANK"), 4, "rank " + std::to_string(layout.devices() - 1));
    EXPECT_EQ(sentences(layout, [&](World& world, bool is_last) { body(world, layout, is_last); }),
              Sentences(static_cast<size_t>(layout.devices()), sentence))
        << print(layout);
  }
}

auto described(const models::MlpConfig& config = kConfig) {
  return describe([&] { return Mlp(config); });
}

template <class Model>
void take_steps(World& world, const Model& model, const TrainerOptions& options, int steps = 2) {
  Trainer trainer(world, model, loss, options);
  for (int step = 0; step < steps; ++step) trainer.step([&](int64_t m) { return batch_of(10 * step + m); });
}

// --- The run ---

TEST(Agreement, SettingsThatDifferAreNamedKeyByKey) {
  using Change = std::function<void(TrainerOptions&)>;
  const std::vector<std::pair<std::string, Change>> changes = {
      {"optimizer.lr 0.01, rank 0 has 0.001", [](auto& o) { o.optimizer = AdamW{.lr = 0.01}; }},
      {"optimizer.name \"sgd\", rank 0 has \"adamw\"", [](auto& o) { o.optimizer = Sgd{}; }},
      {"optimizer.betas.1 0.99, rank 0 has 0.999",
       [](auto& o) { o.optimizer = AdamW{.lr = 0.001, .betas = {0.9, 0.99}}; }},
      {"schedule.warmup_steps 3, rank 0 has 0", [](auto& o) { o.schedule.warmup_steps = 3; }},
      {"clip_norm 1.0, rank 0 has 0.0", [](auto& o) { o.clip_norm = 1; }},
      {"seed 2, rank 0 has 1", [](auto& o) { o.seed = 2; }},
      {"microbatches 8, rank 0 has 4", [](auto& o) { o.microbatches = 8; }},
      {"tensor_chunks 4, rank 0 has 2", [](auto& o) { o.tensor_chunks = 4; }},
      {"precision \"bf16\", rank 0 has \"fp32\"", [](auto& o) { o.precision = Precision::kBF16; }},
      {"device.threads 2, rank 0 has 1", [](auto& o) { o.threads = 2; }},
  };
  for (size_t i = 0; i < changes.size(); ++i)
    expect_refusal(
        "trainer - step 0: RANK has " + changes[i].first + kSame,
        [&](World& world, const Layout& layout, bool is_last) {
          TrainerOptions options = options_for(layout);
          if (is_last) changes[i].second(options);
          take_steps(world, described(), options);
        },
        i == 0 ? kLayouts : std::vector<Layout>{kLayouts[i % kLayouts.size()]});
}

TEST(Agreement, LayoutsThatDifferAreNamed) {
  expect_refusal("trainer - step 0: RANK has layout dp=2,zero=3, rank 0 has dp=2" + kSame,
                 [](World& world, const Layout& layout, bool is_last) {
                   take_steps(world, described(), options_for(is_last ? Layout{.dp = 2, .zero = 3} : layout));
                 },
                 {{.dp = 2}});
}

// Each device makes the Programs of all by itself: unlike ones would read each other's places wrongly.
TEST(Agreement, StagesAndGridsThatDifferAreNamed) {
  expect_refusal("trainer - step 0: RANK has stages layers.2.weight, rank 0 has auto" + kSame,
                 [](World& world, const Layout& layout, bool is_last) {
                   TrainerOptions options = options_for(layout);
                   if (is_last) options.stages = {"layers.2.weight"};
                   take_steps(world, described(), options);
                 },
                 {{.pp = 2}});
  const std::string grid = "0F0 0F1 0F2 0F3 0B0 0B1 0B2 0B3; 1F0 1B0 1F1 1B1 1F2 1B2 1F3 1B3";
  expect_refusal("trainer - step 0: RANK has grid " + grid + ", rank 0 has auto" + kSame,
                 [&](World& world, const Layout& layout, bool is_last) {
                   TrainerOptions options = options_for(layout);
                   if (is_last) options.grid = grid;
                   take_steps(world, described(), options);
                 },
                 {{.pp = 2}});
}

// --- The model ---

TEST(Agreement, AnotherWidthIsNamedByTheFirstParameter) {
  expect_refusal(
      "trainer - step 0: RANK has parameter layers.0.weight f32[32,6], rank 0 has f32[64,6]" + kSame,
      [](World& world, const Layout& layout, bool is_last) {
        models::MlpConfig config = kConfig;
        if (is_last) config.width = 32;
        take_steps(world, described(config), options_for(layout));
      });
}

TEST(Agreement, AnotherLossIsNamedByTheFirstLineOfTheGraph) {
  for (const Layout& layout : kLayouts) {
    const auto all = sentences(layout, [&](World& world, bool is_last) {
      Trainer trainer(
          world, described(),
          [is_last](Mlp& mlp, const Batch& batch) { return loss(mlp, batch) * (is_last ? 2.0 : 3.0); },
          options_for(layout));
      trainer.step([](int64_t m) { return batch_of(m); });
    });
    for (const std::string& sentence : all) {
      EXPECT_EQ(sentence, all[0]);
      EXPECT_TRUE(sentence.starts_with("trainer - step 0: rank " + std::to_string(layout.devices() - 1) +
                                       " has in line "))
          << sentence;
      EXPECT_NE(sentence.find("aten::mul"), std::string::npos) << sentence;
    }
  }
}

TEST(Agreement, AFrozenParameterOfOneRankIsNamed) {
  expect_refusal(
      "trainer - step 0: RANK has frozen parameters layers.1.bias, rank 0 has none" + kSame,
      [](World& world, const Layout& layout, bool is_last) {
        const Mlp net = built(7);
        if (is_last) net->named_parameters()["layers.1.bias"].requires_grad_(false);
        take_steps(world, net, options_for(layout));
      });
}

const std::string kBegin =
    " than rank 0; every device must begin with the same model: call torch::manual_seed(n) before it is "
    "built, or "
    "build it in shoal::describe";

TEST(Agreement, BuiltModelsOfUnlikeNumbersAreRefused) {
  expect_refusal("trainer - step 0: RANK has another first value of layers.0.weight" + kBegin,
                 [](World& world, const Layout& layout, bool is_last) {
                   take_steps(world, built(is_last ? 8 : 7), options_for(layout));
                 });
}

TEST(Agreement, OneElementOfAFrozenTensorOrABufferIsSeen) {
  for (const bool buffer : {false, true})
    expect_refusal(std::string("trainer - step 0: RANK has another first value of ") +
                       (buffer ? "scale" : "layers.2.weight") + kBegin,
                   [&](World& world, const Layout& layout, bool is_last) {
                     Mlp net = built(7);
                     torch::Tensor scale = net->register_buffer("scale", torch::ones({5}));
                     torch::Tensor frozen = net->named_parameters()["layers.2.weight"].requires_grad_(false);
                     if (is_last) (buffer ? scale : frozen.view({-1})).select(0, 3).fill_(0.5);
                     take_steps(world, net, options_for(layout));
                   },
                   {{.dp = 2}, {.tp = 2}, {.dp = 2, .zero = 3}});
}

TEST(Agreement, AnotherConstructorIsNamedByItsFirstLine) {
  for (const Layout& layout : {kLayouts[0], kLayouts[3]}) {
    const auto all = sentences(layout, [&](World& world, bool is_last) {
      const auto net = describe([&] {
        Mlp mlp(kConfig);
        const torch::NoGradGuard no_grad;
        mlp->named_parameters()["layers.0.bias"].fill_(is_last ? 0.5 : 0.25);
        return mlp;
      });
      take_steps(world, net, options_for(layout));
    });
    for (const std::string& sentence : all) {
      EXPECT_EQ(sentence, all[0]);
      EXPECT_NE(sentence.find("of the constructor's recorded operators"), std::string::npos) << sentence;
      EXPECT_NE(sentence.find("0.5"), std::string::npos) << sentence;
    }
  }
}

TEST(Agreement, EqualBuiltModelsTrain) {
  for (const Layout& layout : kLayouts)
    EXPECT_EQ(
        sentences(layout, [&](World& world, bool) { take_steps(world, built(7), options_for(layout)); }),
        Sentences(static_cast<size_t>(layout.devices()), "(nothing was thrown)"));
}

// --- The batch ---

TEST(Agreement, MicrobatchesOfAnotherShapeAreNamed) {
  for (const int at : {0, 1})
    expect_refusal(
        "trainer - step " + std::to_string(at) +
            ": RANK has microbatch f32[3,6], i64[3], rank 0 has f32[2,6], i64[2]" + kSame,
        [&](World& world, const Layout& layout, bool is_last) {
          Trainer trainer(world, described(), loss, options_for(layout));
          for (int step = 0; step < 3; ++step)
            trainer.step([&](int64_t m) { return batch_of(m, is_last && step == at ? 3 : 2); });
        },
        at == 0 ? kLayouts : std::vector<Layout>{{.dp = 2}, {.tp = 2}});
}

TEST(Agreement, BatchesOfOtherNumbersAreFoundByTheCheckForThem) {
  expect_refusal(
      "check_same_batch - batch: RANK has another content of tensor 1 than rank 0; step(batch) needs the "
      "same global "
      "batch on every device: shuffle and draw with a seed that all share, or give step() a function that "
      "makes one "
      "microbatch",
      [](World& world, const Layout&, bool is_last) {
        Batch batch = batch_of(1);
        check_same_batch(world, batch);
        if (is_last) batch[1][1] = (batch[1][1].item<int64_t>() + 1) % 4;
        check_same_batch(world, batch);
      },
      {{.dp = 2}, {.dp = 3}});
}

TEST(Agreement, DevicesThatShareABatchMustEvaluateTheSame) {
  Sentences all(2);
  EXPECT_THROW(World::threads(2,
                              [&](World& world) {
                                Trainer trainer(world, described(), loss, options_for({.tp = 2}));
                                trainer.step([&](int64_t m) { return batch_of(m); });
                                try {
                                  trainer.evaluate(2, [&](int64_t i) {
                                    return batch_of(i, world.rank() == 1 && i == 1 ? 3 : 2);
                                  });
                                } catch (const std::exception& error) {
                                  all[static_cast<size_t>(world.rank())] = error.what();
                                  throw;
                                }
                              }),
               InputError);
  for (const std::string& sentence : all) {
    EXPECT_NE(sentence.find("after step 0: evaluate batch 1: rank "), std::string::npos) << sentence;
    EXPECT_NE(sentence.find(" has graph "), std::string::npos) << sentence;
    EXPECT_NE(sentence.find(" of f32[3,6], i64[3]"), std::string::npos) << sentence;
  }
}

TEST(Agreement, GraphsOfEvaluationAreCompared) {
  expect_refusal(
      "trainer - after step 0: evaluate: with tensors f32[2,6], i64[2] RANK has another graph than rank 0" +
          kSame,
      [](World& world, const Layout& layout, bool is_last) {
        Trainer trainer(
            world, described(),
            [&](Mlp& mlp, const Batch& batch) {
              return loss(mlp, batch) * (is_last && !mlp->is_training() ? 2.0 : 1.0);
            },
            options_for(layout));
        trainer.step([](int64_t m) { return batch_of(m); });
        trainer.evaluate(4, [](int64_t i) { return batch_of(i); });
      },
      {{.dp = 2}, {.dp = 3, .zero = 3}});
}

// --- The calls ---

using Call = std::function<void(Trainer&)>;
const auto kFolder =
    std::filesystem::temp_directory_path() / ("shoal-agreement-test-" + std::to_string(::getpid()));
const std::vector<std::pair<std::string, Call>> kCalls = {
    {"step", [](Trainer& trainer) { trainer.step([](int64_t m) { return batch_of(m); }); }},
    {"save", [](Trainer& trainer) { trainer.save(kFolder / "other"); }},
    {"load", [](Trainer& trainer) { trainer.load(kFolder / "other"); }},
    {"evaluate", [](Trainer& trainer) { trainer.evaluate(2, [](int64_t i) { return batch_of(i); }); }},
    {"prepare", [](Trainer& trainer) { trainer.prepare(batch_of(1)); }},
};

TEST(AgreementOfCalls, UnlikeCallsAreNamed) {
  for (const Layout& layout :
       {Layout{.dp = 2}, Layout{.tp = 2}, Layout{.dp = 2, .zero = 3}, Layout{.servers = 1}})
    for (const auto& [first, first_call] : kCalls)
      for (const auto& [other, other_call] : kCalls) {
        if (first == other) continue;
        const std::string want = "trainer - calls: rank 0 calls " + first + ", rank 1 calls " + other +
                                 "; every device makes the same collective calls in the same order";
        EXPECT_EQ(sentences(layout,
                            [&](World& world, bool is_last) {
                              Trainer trainer(world, described(), loss, options_for(layout));
                              trainer.step([](int64_t m) { return batch_of(m); });
                              (is_last ? other_call : first_call)(trainer);
                            }),
                  Sentences(2, want))
            << print(layout);
      }
}

TEST(AgreementOfCalls, CallsBeforeTheFirstStepToo) {
  EXPECT_EQ(
      sentences({.dp = 2},
                [](World& world, bool is_last) {
                  Trainer trainer(world, described(), loss, options_for({.dp = 2}));
                  (is_last ? kCalls[0] : kCalls[1]).second(trainer);
                }),
      Sentences(
          2,
          "trainer - calls: rank 0 calls save, rank 1 calls step; every device makes the same collective "
          "calls in the same order"));
}

TEST(AgreementOfCalls, AnotherFolderOrCountIsNamed) {
  expect_refusal("trainer - after step 0: save: RANK has the checkpoint " + (kFolder / "b").string() +
                     ", rank 0 has " + (kFolder / "a").string() + kSame,
                 [](World& world, const Layout& layout, bool is_last) {
                   Trainer trainer(world, described(), loss, options_for(layout));
                   trainer.step([](int64_t m) { return batch_of(m); });
                   trainer.save(kFolder / (is_last ? "b" : "a"));
                 },
                 {{.dp = 2}});
  expect_refusal("trainer - after step 0: evaluate: RANK has number of batches 3, rank 0 has 2" + kSame,
                 [](World& world, const Layout& layout, bool is_last) {
                   Trainer trainer(world, described(), loss, options_for(layout));
                   trainer.step([](int64_t m) { return batch_of(m); });
                   trainer.evaluate(is_last ? 3 : 2, [](int64_t i) { return batch_of(i); });
                 },
                 {{.dp = 2}});
  EXPECT_FALSE(std::filesystem::exists(kFolder));
}

TEST(AgreementOfCalls, TwoTrainersAreToldApart) {
  expect_refusal(
      "trainer - calls: rank 0 calls step, RANK calls step of trainer 2; every device makes the same "
      "collective calls "
      "in the same order",
      [](World& world, const Layout& layout, bool is_last) {
        Trainer a(world, described(), loss, options_for(layout)),
            b(world, described(), loss, options_for(layout));
        for (Trainer* trainer : {&a, &b}) trainer->step([](int64_t m) { return batch_of(m); });
        (is_last ? b : a).step([](int64_t m) { return batch_of(m); });
      },
      {{.dp = 2}, {.dp = 2, .servers = 1}});
}

TEST(AgreementOfCalls, ARankThatEndedIsNamed) {
  for (const auto& [name, call] : kCalls)
    EXPECT_ERROR(World::threads(2,
                                [&](World& world) {
                                  Trainer trainer(world, described(), loss, options_for({.dp = 2}));
                                  trainer.step([](int64_t m) { return batch_of(m); });
                                  if (world.rank() == 0) call(trainer);
                                }),
                 JobError,
                 (name == "step" ? "rank 0, step 1" : "rank 0, after step 0: " + name) +
                     " - barrier: rank 1 ended before (after step 0)");
}

TEST(AgreementOfCalls, OneDeviceMayLookAtAParameterAlone) {
  for (const Layout& layout : kLayouts)
    EXPECT_EQ(sentences(layout,
                        [&](World& world, bool is_last) {
                          Trainer trainer(world, described(), loss, options_for(layout));
                          for (int step = 0; step < 3; ++step) {
                            trainer.step([](int64_t m) { return batch_of(m); });
                            if (is_last) {
                              EXPECT_EQ(trainer.parameter("layers.0.weight").numel(), 64 * 6);
                            }
                          }
                        }),
              Sentences(static_cast<size_t>(layout.devices()), "(nothing was thrown)"));
}

// A disagreement changes nothing: the same program, put right, goes on.
TEST(AgreementOfCalls, AfterADisagreementTheJobMayGoOn) {
  std::vector<float> losses(2);
  World::threads(2, [&](World& world) {
    Trainer trainer(world, described(), loss, options_for({.dp = 2}));
    EXPECT_THROW(trainer.step([&](int64_t m) { return batch_of(m, world.rank() == 1 ? 3 : 2); }), InputError);
    losses[static_cast<size_t>(world.rank())] = trainer.step([](int64_t m) { return batch_of(m); }).loss;
  });
  World alone(comm::single());
  Trainer trainer(alone, described(), loss, options_for({}));
  EXPECT_EQ(losses, std::vector<float>(2, trainer.step([](int64_t m) { return batch_of(m); }).loss));
}

}  // namespace
}  // namespace shoal
