// One device gives the bits of a plain LibTorch loop (docs/numerics.md, "equal to eager").
#include <gtest/gtest.h>

#include "comm/comm.h"
#include "kernels/cpu/reproducible.h"
#include "models/gpt.h"
#include "models/llama.h"
#include "models/mlp.h"
#include "models/resnet.h"
#include "shoal/shoal.h"
#include "support/eager_loop.h"

namespace shoal {
namespace {

using models::Gpt;
using models::GptConfig;

const auto token_loss = [](auto& model, const Batch& batch) {
  const torch::Tensor logits = model(batch[0]);
  return torch::cross_entropy_loss(logits.view({-1, logits.size(-1)}), batch[1].view({-1}));
};

void expect_same_bits(const torch::Tensor& got, const torch::Tensor& want, const std::string& name) {
  EXPECT_TRUE(torch::equal(got, want))
      << name << ": " << (got != want).sum().item<int64_t>() << " of " << want.numel()
      << " differ, at most by " << (got - want).abs().max().item<float>();
}

class EagerTest : public testing::TestWithParam<int64_t> {
 protected:
  void SetUp() override {
    kernels::make_reproducible();
    torch::set_num_threads(1);
  }
};

// Trains what `construct` makes eagerly and, described, here: losses and weights are the same.
template <class Construct>
void expect_same_training_on_tokens(int64_t microbatches, const Construct& construct) {
  const int64_t steps = 6;
  const auto tokens = [](int64_t step, int64_t m) { return test::random_tokens(step, m, 3, 16, 61); };

  torch::manual_seed(7);
  auto eager = construct();
  const std::vector<float> want =
      test::eager_adamw_loop(*eager, steps, microbatches, {1e-2, 0.9, 0.95, 1e-8, 0.1},
                             [&](int64_t step, int64_t m) { return token_loss(eager, tokens(step, m)); });

  World world(comm::single());
  Trainer trainer(world, describe(construct), token_loss,
                  {.optimizer = AdamW{.lr = 1e-2, .betas = {0.9, 0.95}, .weight_decay = 0.1},
                   .microbatches = microbatches,
                   .seed = 7});
  for (int64_t step = 0; step < steps; ++step) {
    const StepResult result = trainer.step([&](int64_t m) { return tokens(step, m); });
    EXPECT_EQ(result.loss, want[static_cast<size_t>(step)]) << "step " << step;
  }
  for (const auto& parameter : eager->named_parameters())
    expect_same_bits(trainer.parameter(parameter.key()), parameter.value(), parameter.key());
}

TEST_P(EagerTest, GptTrainsToTheSameBits) {
  const GptConfig config{.vocabulary = 61, .layers = 2, .width = 48, .heads = 4, .context = 16};
  expect_same_training_on_tokens(GetParam(), [&] { return Gpt(config); });
}

TEST_P(EagerTest, GptOfDocumentsTrainsToTheSameBits) {
  const GptConfig config{
      .vocabulary = 61, .layers = 2, .width = 48, .heads = 4, .context = 16, .end_of_document = 7};
  expect_same_training_on_tokens(GetParam(), [&] { return Gpt(config); });
}

TEST_P(EagerTest, LlamaTrainsToTheSameBits) {
  for (const int64_t kv_heads : {1, 2, 4}) {
    SCOPED_TRACE(kv_heads);
    const models::LlamaConfig config{
        .vocabulary = 61, .layers = 2, .width = 48, .heads = 4, .kv_heads = kv_heads};
    expect_same_training_on_tokens(GetParam(), [&] { return models::Llama(config); });
  }
}

TEST_P(EagerTest, MlpBuiltOnTheCpuTrainsToTheSameBits) {
  const int64_t microbatches = GetParam(), steps = 6;
  const models::MlpConfig config{.inputs = 13, .width = 37, .layers = 2, .outputs = 5};
  const auto data = [&](int64_t step, int64_t m) -> Batch {
    const auto generator = at::detail::createCPUGenerator(static_cast<uint64_t>(step * 100 + m));
    return {torch::randn({4, config.inputs}, generator),
            torch::randint(config.outputs, {4}, generator, torch::kLong)};
  };
  const auto loss = [](models::Mlp& mlp, const Batch& batch) {
    return torch::cross_entropy_loss(mlp(batch[0]), batch[1]);
  };

  torch::manual_seed(3);
  models::Mlp eager(config);
  torch::manual_seed(3);
  models::Mlp ours(config);
  const std::vector<float> want =
      test::eager_adamw_loop(*eager, steps, microbatches, {1e-2, 0.9, 0.999, 1e-8, 0.01},
                             [&](int64_t step, int64_t m) { return loss(eager, data(step, m)); });
  World world(comm::single());
  Trainer trainer(world, ours, loss, {.optimizer = AdamW{.lr = 1e-2}, .microbatches = microbatches});
  for (int64_t step = 0; step < steps; ++step) {
    const StepResult result = trainer.step([&](int64_t m) { return data(step, m); });
    EXPECT_EQ(result.loss, want[static_cast<size_t>(step)]) << "step " << step;
  }
  for (const auto& parameter : eager->named_parameters())
    expect_same_bits(trainer.parameter(parameter.key()), parameter.value(), parameter.key());
}

TEST_P(EagerTest, ResnetTrainsToTheSameBits) {
  const int64_t microbatches = GetParam(), steps = 3;
  const models::ResnetConfig config{.stages = 2, .layers = 1, .width = 4, .outputs = 5};
  const auto data = [&](int64_t step, int64_t m) -> Batch {
    const auto generator = at::detail::createCPUGenerator(static_cast<uint64_t>(step * 100 + m));
    return {torch::randn({3, 3, 9, 8}, generator),
            torch::randint(config.outputs, {3}, generator, torch::kLong)};
  };
  const auto loss = [](models::Resnet& resnet, const Batch& batch) {
    return torch::cross_entropy_loss(resnet(batch[0]), batch[1]);
  };
  torch::manual_seed(7);
  models::Resnet eager(config);
  const std::vector<float> want =
      test::eager_adamw_loop(*eager, steps, microbatches, {1e-2, 0.9, 0.999, 1e-8, 0.01},
                             [&](int64_t step, int64_t m) { return loss(eager, data(step, m)); });
  World world(comm::single());
  Trainer trainer(world, describe([&] { return models::Resnet(config); }), loss,
                  {.optimizer = AdamW{.lr = 1e-2}, .microbatches = microbatches, .seed = 7});
  for (int64_t step = 0; step < steps; ++step) {
    const StepResult result = trainer.step([&](int64_t m) { return data(step, m); });
    EXPECT_EQ(result.loss, want[static_cast<size_t>(step)]) << "step " << step;
  }
  for (const auto& parameter : eager->named_parameters())
    expect_same_bits(trainer.parameter(parameter.key()), parameter.value(), parameter.key());
  for (const auto& buffer : eager->named_buffers())
    expect_same_bits(trainer.parameter(buffer.key()), buffer.value(), buffer.key());
}

INSTANTIATE_TEST_SUITE_P(Microbatches, EagerTest, testing::Values(1, 2, 6, 8));

}  // namespace
}  // namespace shoal
