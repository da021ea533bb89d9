// Predictions: the same bits for every layout, in order, at the first device; those of eager where nothing is cut.
#include <gtest/gtest.h>
#include <torch/torch.h>

#include <mutex>
#include <vector>

#include "comm/group.h"
#include "models/gpt.h"
#include "shoal/shoal.h"
#include "support/expect_error.h"

namespace shoal {
namespace {

const models::GptConfig kConfig{.vocabulary = 12, .layers = 3, .width = 16, .heads = 4, .context = 6};
constexpr int64_t kBatches = 5;

torch::Tensor loss(models::Gpt& gpt, const Batch& batch) {
  return torch::cross_entropy_loss(gpt(batch[0]).reshape({-1, kConfig.vocabulary}), batch[1].reshape({-1}));
}

/// The last batch is smaller.
Batch batch_of(int64_t i) {
  const auto generator = at::detail::createCPUGenerator(static_cast<uint64_t>(i));
  const int64_t samples = i == kBatches - 1 ? 1 : 2;
  return {torch::randint(kConfig.vocabulary, {samples, kConfig.context}, generator, torch::kLong),
          torch::randint(kConfig.vocabulary, {samples, kConfig.context}, generator, torch::kLong)};
}

std::vector<at::Tensor> predictions(const Layout& layout, int64_t chunks, Precision precision = Precision::kFP32) {
  SCOPED_TRACE(print(layout));
  std::vector<at::Tensor> all;
  World::threads(static_cast<int>(layout.devices()), [&](World& world) {
    auto model = describe([] { return models::Gpt(kConfig); });
    Trainer trainer(world, model, loss,
                    {.microbatches = 4, .precision = precision, .tensor_chunks = chunks, .layout = layout});
    for (int64_t step = 0; step < 2; ++step) trainer.step([&](int64_t m) { return batch_of(10 * step + m); });
    trainer.predict([gpt = model.module](const Batch& batch) mutable { return gpt(batch[0]); }, kBatches,
                    [](int64_t i) { return Batch{batch_of(i)[0]}; },
                    [&](int64_t i, const at::Tensor& made) {
                      EXPECT_EQ(world.rank(), 0);
                      EXPECT_EQ(i, static_cast<int64_t>(all.size()));
                      all.push_back(made.clone());
                    });
    trainer.step([&](int64_t m) { return batch_of(20 + m); });  // and training goes on
  });
  return all;
}

void expect_equal(const std::vector<at::Tensor>& want, const std::vector<at::Tensor>& got, const std::string& layout) {
  ASSERT_EQ(want.size(), static_cast<size_t>(kBatches));
  ASSERT_EQ(got.size(), want.size()) << layout;
  for (size_t i = 0; i < want.size(); ++i) EXPECT_TRUE(at::equal(want[i], got[i])) << layout << " batch " << i;
}

TEST(Prediction, IsTheSameForEveryLayout) {
  for (const Precision precision : {Precision::kFP32, Precision::kBF16}) {
    const auto whole = predictions({}, 1, precision), cut = predictions({}, 2, precision);
    for (const char* layout : {"dp=2", "dp=4,zero=3", "pp=3", "dp=2,pp=2", "dp=2,owners=servers:1"})
      expect_equal(whole, predictions(parse_layout(layout, "test"), 1, precision), layout);
    for (const char* layout : {"tp=2", "dp=2,tp=2,zero=3", "pp=2,tp=2"})
      expect_equal(cut, predictions(parse_layout(layout, "test"), 2, precision), layout);
  }
}

TEST(Prediction, IsEagers) {
  World world{comm::single()};
  torch::manual_seed(3);
  models::Gpt gpt(kConfig);
  Trainer trainer(world, gpt, loss, {.microbatches = 1});
  trainer.prepare(batch_of(0));
  int64_t count = 0;
  trainer.predict([&](const Batch& batch) { return gpt(batch[0]); }, kBatches, [](int64_t i) { return batch_of(i); },
                  [&](int64_t i, const at::Tensor& made) {
                    const torch::NoGradGuard no_grad;
                    gpt->eval();
                    EXPECT_TRUE(at::equal(made, gpt(batch_of(i)[0])));
                    gpt->train();
                    ++count;
                  });
  EXPECT_EQ(count, kBatches);
}

TEST(Prediction, SaysWhatItCannotDo) {
  World world{comm::single()};
  auto model = describe([] { return models::Gpt(kConfig); });
  Trainer trainer(world, model, loss, {.microbatches = 1});
  const auto forward = [gpt = model.module](const Batch& batch) mutable { return gpt(batch[0]); };
  const auto take = [](int64_t, const at::Tensor&) {};
  trainer.prepare(batch_of(0));
  EXPECT_ERROR(trainer.predict(forward, 0, batch_of, take), InputError,
               "trainer - predict: got 0 batches, want 1 or more");
  EXPECT_ERROR(trainer.predict(forward, 2, [](int64_t) -> Batch { throw std::runtime_error("no data"); }, take), JobError,
               "before step 0: batch 0 of predict's data function - std::runtime_error: no data");
}

}  // namespace
}  // namespace shoal
