// What a layout costs: memory of each device and bytes between them, counted, against docs/layouts.md.
#include <gtest/gtest.h>
#include <torch/torch.h>

#include <cstdlib>
#include <filesystem>
#include <mutex>
#include <regex>
#include <sstream>

#include "comm/group.h"
#include "comm/reduce.h"
#include "models/gpt.h"
#include "models/mlp.h"
#include "shoal/shoal.h"
#include "state/checkpoint.h"
#include "support/eager_loop.h"
#include "support/expect_error.h"

namespace shoal {
namespace {

const auto loss = [](auto& model, const Batch& batch) {
  const torch::Tensor logits = model(batch[0]);
  return torch::cross_entropy_loss(logits.view({-1, logits.size(-1)}), batch[1].view({-1}));
};

// --- Memory ---

// Bytes of the device that has most, after three steps of an 8-layer GPT.
Trainer::Memory most_memory(const Layout& layout, int64_t microbatches, Precision precision) {
  const models::GptConfig config{.vocabulary = 1031, .layers = 8, .width = 256, .heads = 4, .context = 16};
  Trainer::Memory most;
  std::mutex mutex;
  World::threads(static_cast<int>(layout.devices()), [&](World& world) {
    Trainer trainer(world, describe([&] { return models::Gpt(config); }), loss,
                    {.microbatches = microbatches, .precision = precision, .layout = layout});
    for (int64_t step = 0; step < 3; ++step)
      trainer.step(
          [&](int64_t m) { return test::random_tokens(step, m, 1, config.context, config.vocabulary); });
    Trainer::Memory memory = trainer.memory();
    memory.activations = 0;  // of the microbatch's size, and of what zero = 3 fetches
    const std::lock_guard lock(mutex);
    if (memory.total() > most.total()) most = memory;
  });
  return most;
}

TEST(OwnershipMemory, ShrinksAsDevicesAreAdded) {
  for (const Precision precision : {Precision::kFP32, Precision::kBF16}) {
    const auto one = most_memory({}, 1, precision);  // one slot: no more than it needs
    const auto share = [&](const Layout& layout) {
      const auto most = most_memory(layout, layout.dp, precision);
      const double share = static_cast<double>(most.total()) / static_cast<double>(one.total());
      std::printf(
          "%s dp=%lld zero=%d: weights %.1f, gradients %.1f, optimizer %.1f, windows %.1f MiB: "
          "%.3f of one device's\n",
          precision == Precision::kBF16 ? "bf16" : "fp32", static_cast<long long>(layout.dp), layout.zero,
          static_cast<double>(most.weights) / (1 << 20), static_cast<double>(most.gradients) / (1 << 20),
          static_cast<double>(most.optimizer) / (1 << 20), static_cast<double>(most.windows) / (1 << 20),
          share);
      return share;
    };
    EXPECT_LE(share({.dp = 4, .zero = 3}), 1.15 / 4);
    EXPECT_LE(share({.dp = 2, .zero = 3}), 1.1 / 2);
    const double two = share({.dp = 4, .zero = 2}), optimizer_only = share({.dp = 4, .zero = 1});
    EXPECT_LT(two, optimizer_only);
    EXPECT_LT(optimizer_only, 1);
  }
}

// The optimizer's state lies in files, and nothing else changes.
TEST(OwnershipMemory, OffloadedStateTakesNone) {
  const models::MlpConfig config{.inputs = 24, .width = 301, .layers = 2, .outputs = 7};
  const auto trained = [&](const std::string& folder, const Layout& layout, const std::filesystem::path& out) {
    int64_t optimizer = 0, planned = 0;
    World::threads(static_cast<int>(layout.devices()), [&](World& world) {
      Trainer trainer(world, describe([&] { return models::Mlp(config); }), loss,
                      {.microbatches = 2, .precision = Precision::kBF16, .layout = layout, .offload = folder});
      const auto step = [&](int64_t s) {
        trainer.step([&](int64_t m) -> Batch {
          const auto tokens = test::random_tokens(s, m, 4, config.inputs, 1000);
          return {tokens[0].to(torch::kFloat) / 500.0 - 1.0, tokens[1].select(1, 0).remainder(config.outputs)};
        });
      };
      for (int64_t s = 0; s < 3; ++s) step(s);
      trainer.save(out / "half");
      step(3);
      trainer.load(out / "half");
      for (int64_t s = 3; s < 5; ++s) step(s);
      trainer.save(out / "end");
      if (world.rank() == 0) optimizer = trainer.memory().optimizer, planned = trainer.planned_memory().optimizer;
    });
    return std::tuple(optimizer, planned, state::content_hash(out / "end"));
  };
  std::string folder = (std::filesystem::temp_directory_path() / "shoal-offload-XXXXXX").string();
  ASSERT_NE(::mkdtemp(folder.data()), nullptr);
  const std::filesystem::path out(folder);
  const auto [kept, planned, want] = trained("", {}, out / "memory");
  EXPECT_GT(kept, 0);
  int number = 0;
  for (const Layout& layout : {Layout{}, Layout{.dp = 2}, Layout{.dp = 2, .zero = 3}, Layout{.pp = 2}}) {
    const auto [bytes, said, hash] = trained(folder, layout, out / std::to_string(number++));
    EXPECT_EQ(bytes, 0);
    EXPECT_EQ(said, 0);
    EXPECT_EQ(hash, want) << print(layout);
  }
  for (const auto& entry : std::filesystem::directory_iterator(folder))
    EXPECT_TRUE(entry.is_directory()) << entry.path() << ": the files have no names";
  std::filesystem::remove_all(folder);
}

// --- Bytes between devices ---

const models::MlpConfig kMlp{.inputs = 30, .width = 700, .layers = 2, .outputs = 11};

// Bytes of an MLP's parameters in the dtype that forward reads; `backward`: those that backward reads, too.
struct Sizes {
  int64_t all = 0, backward = 0, blocks = 0;
};
Sizes sizes_of(int64_t element_bytes) {
  Sizes sizes;
  int64_t in = kMlp.inputs;
  for (int64_t layer = 0; layer <= kMlp.layers; ++layer) {
    const int64_t out = layer == kMlp.layers ? kMlp.outputs : kMlp.width;
    sizes.all += (in * out + out) * element_bytes;
    // The first layer needs no gradient of its input; no layer's backward reads its bias.
    if (layer > 0) sizes.backward += in * out * element_bytes;
    sizes.blocks += (in * out + 65535) / 65536 + 1;
    in = out;
  }
  return sizes;
}

// Summed over all devices, of one step.
StepResult::BytesRead bytes_read(const Layout& layout, int64_t microbatches, Precision precision) {
  StepResult::BytesRead sum;
  std::mutex mutex;
  World::threads(static_cast<int>(layout.devices()), [&](World& world) {
    Trainer trainer(world, describe([] { return models::Mlp(kMlp); }), loss,
                    {.microbatches = microbatches, .precision = precision, .layout = layout});
    for (int64_t step = 0; step < 3; ++step) {
      const auto result = trainer.step([&](int64_t m) -> Batch {
        const auto tokens = test::random_tokens(step, m, 4, kMlp.inputs, kMlp.outputs);
        return {tokens[0].to(torch::kFloat), tokens[1].select(1, 0)};
      });
      if (step < 2) continue;
      const std::lock_guard lock(mutex);
      sum.gradients += result.bytes_read.gradients;
      sum.weights += result.bytes_read.weights;
      sum.boards += result.bytes_read.boards;
    }
  });
  return sum;
}

TEST(OwnershipBytes, AreThoseOfTheClosedForm) {
  for (const Precision precision : {Precision::kFP32, Precision::kBF16}) {
    const int64_t width = precision == Precision::kBF16 ? 2 : 4;
    const auto [W, backward, blocks] = sizes_of(width);
    const int64_t sums = W / width * 4;  // a gradient in fp32
    for (const int64_t dp : {2, 3, 4, 8}) {
      for (const int64_t M : {8, 24}) {
        SCOPED_TRACE(testing::Message() << "dp " << dp << " M " << M << " width " << width);
        // The roots of all devices: leaves are in the kernels' dtype, sums in fp32.
        int64_t roots = 0, num_roots = 0;
        for (int64_t d = 0; d < dp; ++d) {
          for (const Range root : comm::tree_roots(M, share(M, dp, d))) {
            roots += root.size() == 1 ? W : sums;
            ++num_roots;
          }
        }
        const auto board = [&](int64_t devices, int64_t tellers) {
          return 8 * ((devices * M - tellers) + devices * (devices - 1) + (devices - 1) * blocks);
        };
        // zero = 1. An owner reads its share of all roots but its own; every device then reads all weights
        // but its own share. Over all devices the shares add up to one whole.
        const auto one = bytes_read({.dp = dp, .zero = 1}, M, precision);
        if (M % dp == 0 && (dp & (dp - 1)) == 0) {  // every device has as many roots of each kind
          EXPECT_EQ(one.gradients, (dp - 1) * roots / dp);
          const auto zero = bytes_read({.dp = dp, .zero = 0}, M, precision);
          // All roots are fp32; the sums of the others' shares come on top, in place of weights.
          EXPECT_EQ(zero.gradients, (dp - 1) * (num_roots / dp + 1) * sums);
          EXPECT_EQ(zero.weights, 0);
        }
        EXPECT_EQ(one.weights, (dp - 1) * W);
        EXPECT_EQ(one.boards, board(dp, M));

        // zero = 2: every leaf travels, in the kernels' dtype. zero = 3: each microbatch gathers what forward
        // reads and what backward reads, but for the device's own share of it.
        if (M % dp == 0) {
          const auto two = bytes_read({.dp = dp, .zero = 2}, M, precision);
          EXPECT_EQ(two.gradients, (M - M / dp) * W);
          EXPECT_EQ(two.weights, (dp - 1) * W);
          const auto three = bytes_read({.dp = dp, .zero = 3}, M, precision);
          EXPECT_EQ(three.gradients, (M - M / dp) * W);
          EXPECT_EQ(three.weights, M / dp * (dp - 1) * (W + backward));
          EXPECT_EQ(three.boards, board(dp, M));
        }

        // Servers read all roots; workers all weights.
        const auto served = bytes_read({.dp = dp, .servers = 2}, M, precision);
        EXPECT_EQ(served.gradients, roots);
        EXPECT_EQ(served.weights, dp * W);
        EXPECT_EQ(served.boards, board(dp + 2, M));
      }
    }
    const auto alone = bytes_read({}, 8, precision);
    EXPECT_EQ(alone.gradients + alone.weights + alone.boards, 0);
  }
}

// The same with tp above 1. Which parameters are divided is read from the plan.
constexpr models::GptConfig kGpt{.vocabulary = 64, .layers = 2, .width = 32, .heads = 4, .context = 16};

// Numbers of elements that forward reads; of these, those that backward reads, too.
struct GptSizes {
  int64_t divided = 0, divided_backward = 0, whole = 0, whole_backward = 0;
  int64_t tables = 0;  // of embeddings that are divided: their gradients are summed in fp32
};
GptSizes gpt_sizes(const std::string& plan) {
  GptSizes sizes;
  std::istringstream lines(plan.substr(plan.find("cut map:")));
  const std::regex parameter(R"(  (\S+) b?f\d+\[(\d+)(?:,(\d+))?\] (S\d|whole))");
  std::smatch match;
  for (std::string line; std::getline(lines, line);) {
    if (!std::regex_match(line, match, parameter)) continue;
    const std::string name = match[1];
    const int64_t elements = std::stoll(match[2]) * (match[3].matched ? std::stoll(match[3]) : 1);
    const bool whole = match[4] == "whole",
               table = name.starts_with("tokens") || name.starts_with("positions");
    // Backward reads matrices and the norms' parameters; neither tables nor the biases of linear layers.
    const bool backward = !table && (match[3].matched || name.find("norm") != std::string::npos);
    (whole ? sizes.whole : sizes.divided) += elements;
    if (backward) (whole ? sizes.whole_backward : sizes.divided_backward) += elements;
    if (table && !whole) sizes.tables += elements;
  }
  return sizes;
}

struct GptStep {
  StepResult::BytesRead read;  // by all devices
  std::string plan;
};
GptStep gpt_step(const Layout& layout, int64_t microbatches, Precision precision) {
  GptStep sum;
  std::mutex mutex;
  World::threads(static_cast<int>(layout.devices()), [&](World& world) {
    Trainer trainer(
        world, describe([] { return models::Gpt(kGpt); }), loss,
        {.microbatches = microbatches, .precision = precision, .tensor_chunks = 2, .layout = layout});
    for (int64_t step = 0; step < 3; ++step) {
      const auto result = trainer.step(
          [&](int64_t m) { return test::random_tokens(step, m, 2, kGpt.context, kGpt.vocabulary); });
      if (step < 2) continue;
      const std::string plan = trainer.plan();
      const std::lock_guard lock(mutex);
      sum.read.gradients += result.bytes_read.gradients;
      sum.read.weights += result.bytes_read.weights;
      sum.read.activations += result.bytes_read.activations;
      if (world.rank() == 0) sum.plan = plan;
    }
  });
  return sum;
}

TEST(OwnershipBytes, AreThoseOfTheClosedFormWithTensorParallelism) {
  constexpr int64_t tp = 2, M = 8;
  for (const Precision precision : {Precision::kFP32, Precision::kBF16}) {
    const int64_t width = precision == Precision::kBF16 ? 2 : 4;
    int64_t exchanged = 0;  // by all devices, for one microbatch
    for (const int64_t dp : {1, 2, 4}) {
      SCOPED_TRACE(testing::Message() << "dp " << dp << " width " << width);
      const auto [one, plan] = gpt_step({.dp = dp, .tp = tp, .zero = 1}, M, precision);
      const GptSizes n = gpt_sizes(plan);
      ASSERT_EQ(n.divided + n.whole, 2 * (12 * 32 * 32 + 13 * 32) + 2 * 64 * 32 + 16 * 32 + 2 * 32);
      ASSERT_GT(n.divided, 20 * n.whole);
      const int64_t leaf = (n.divided + n.whole - n.tables) * width + n.tables * 4;
      const int64_t sums = (n.divided + n.whole) * 4;
      // What is copied to all that hold it, but for the one that has it.
      const auto copies = [&](int64_t divided, int64_t whole) {
        return (dp - 1) * divided + (dp * tp - 1) * whole;
      };
      int64_t roots = 0;  // of 2 to 8 microbatches each: all are sums
      for (int64_t d = 0; d < dp; ++d)
        roots += static_cast<int64_t>(comm::tree_roots(M, share(M, dp, d)).size()) * sums;

      EXPECT_EQ(one.gradients, (dp - 1) * roots / dp);
      EXPECT_EQ(one.weights, copies(n.divided, n.whole) * width);
      // The activations are the graph's: as many for every microbatch, whoever keeps the weights.
      if (exchanged == 0) exchanged = one.activations / M;
      EXPECT_GT(exchanged, 0);
      EXPECT_EQ(one.activations, M * exchanged);

      const auto served = gpt_step({.dp = dp, .tp = tp, .servers = 2}, M, precision).read;
      EXPECT_EQ(served.gradients, roots);
      EXPECT_EQ(served.weights, (dp * n.divided + dp * tp * n.whole) * width);
      EXPECT_EQ(served.activations, M * exchanged);
      if (dp == 1) continue;  // the other settings want more

      const auto zero = gpt_step({.dp = dp, .tp = tp, .zero = 0}, M, precision).read;
      EXPECT_EQ(zero.gradients, (dp - 1) * roots / dp + copies(n.divided, n.whole) * 4);
      EXPECT_EQ(zero.weights, 0);
      const auto two = gpt_step({.dp = dp, .tp = tp, .zero = 2}, M, precision).read;
      EXPECT_EQ(two.gradients, (M - M / dp) * leaf);
      EXPECT_EQ(two.weights, copies(n.divided, n.whole) * width);
      const auto three = gpt_step({.dp = dp, .tp = tp, .zero = 3}, M, precision).read;
      EXPECT_EQ(three.gradients, (M - M / dp) * leaf);
      EXPECT_EQ(three.weights,
                M / dp * copies(n.divided + n.divided_backward, n.whole + n.whole_backward) * width);
      EXPECT_EQ(three.activations, M * exchanged);
    }
  }
}

// --- Devices with nothing to do, and what users see of a layout ---

TEST(Ownership, DevicesThatOwnNothingTakePart) {
  const models::MlpConfig small{.inputs = 3, .width = 4, .layers = 1, .outputs = 2};  // four blocks
  std::vector<float> losses;
  std::mutex mutex;
  for (const Layout& layout :
       {Layout{}, Layout{.dp = 6}, Layout{.dp = 6, .zero = 0}, Layout{.dp = 6, .zero = 2},
        Layout{.dp = 6, .zero = 3}, Layout{.dp = 2, .servers = 6}}) {
    World::threads(static_cast<int>(layout.devices()), [&](World& world) {
      Trainer trainer(world, describe([&] { return models::Mlp(small); }), loss,
                      {.optimizer = Sgd{.lr = 0.1, .momentum = 0.9}, .microbatches = 6, .layout = layout});
      float last = 0;
      for (int64_t step = 0; step < 4; ++step)
        last = trainer
                   .step([&](int64_t m) -> Batch {
                     const auto tokens = test::random_tokens(step, m, 2, 3, 2);
                     return {tokens[0].to(torch::kFloat), tokens[1].select(1, 0)};
                   })
                   .loss;
      const std::lock_guard lock(mutex);
      losses.push_back(last);
    });
  }
  ASSERT_EQ(losses.size(), 1u + 6 * 4 + 8);
  for (const float value : losses) EXPECT_EQ(value, losses[0]);
}

TEST(Ownership, ParametersAreWholeForWhoeverAsks) {
  const models::MlpConfig config{.inputs = 300, .width = 300, .layers = 1, .outputs = 3};
  std::vector<torch::Tensor> values;
  std::mutex mutex;
  for (const Layout& layout : {Layout{}, Layout{.dp = 3, .zero = 3}, Layout{.dp = 2, .servers = 2}}) {
    World::threads(static_cast<int>(layout.devices()), [&](World& world) {
      torch::manual_seed(4);
      Trainer trainer(world, describe([&] { return models::Mlp(config); }), loss,
                      {.microbatches = 3, .layout = layout});
      const auto batch = [&](int64_t m) -> Batch {
        const auto tokens = test::random_tokens(1, m, 2, 300, 3);
        return {tokens[0].to(torch::kFloat), tokens[1].select(1, 0)};
      };
      trainer.step(batch);
      const torch::Tensor value = trainer.parameter("layers.0.weight");
      comm::Group(world.communicator()).barrier();
      const std::lock_guard lock(mutex);
      values.push_back(value);
    });
  }
  ASSERT_EQ(values.size(), 8u);
  for (const torch::Tensor& value : values) EXPECT_TRUE(torch::equal(value, values[0]));
}

TEST(Ownership, AGradientThatIsNotFiniteEndsTheRunInEveryLayout) {
  for (const Layout& layout :
       {Layout{.dp = 2, .zero = 0}, Layout{.dp = 2, .zero = 2}, Layout{.dp = 1, .servers = 1}}) {
    EXPECT_ERROR(
        World::threads(2,
                       [&](World& world) {
                         Trainer trainer(world, describe([] { return models::Mlp(kMlp); }), loss,
                                         {.microbatches = 2, .layout = layout});
                         trainer.step([&](int64_t) -> Batch {
                           return {torch::full({2, kMlp.inputs}, NAN), torch::zeros({2}, torch::kLong)};
                         });
                       }),
        JobError,
        "step 0 - gradient of layers.0.weight: got a NaN value, loss nan; the weights are those of the "
        "step before, try a smaller learning rate or clip_norm");
  }
}

}  // namespace
}  // namespace shoal
