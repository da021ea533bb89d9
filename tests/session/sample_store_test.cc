// Tensors go into a sample store and come out as batches, and a run on them is the same on any devices.
#include <gtest/gtest.h>
#include <torch/torch.h>
#include <unistd.h>

#include <filesystem>
#include <set>

#include "base/hash.h"
#include "base/text.h"
#include "shoal/error.h"
#include "shoal/sample_store.h"
#include "shoal/trainer.h"

namespace shoal {
namespace {

namespace fs = std::filesystem;

const std::vector<SampleField> kFields = {
    {"image", at::kByte, {3, 4, 4}}, {"words", at::kInt, {-1}}, {"label", at::kLong, {}}};

class SampleStoreApi : public testing::Test {
 protected:
  SampleStoreApi() {
    std::string name = (fs::temp_directory_path() / "shoal_samples_XXXXXX").string();
    folder_ = fs::path(::mkdtemp(name.data()));
    SampleStoreWriter writer(store_path(), kFields, {.validation_every = 4, .shard_bytes = 700});
    torch::manual_seed(3);
    for (int64_t i = 0; i < 30; ++i) {
      given_.push_back({torch::randint(256, {3, 4, 4}, at::kByte), torch::randint(9, {i % 5}, at::kInt),
                        torch::tensor(i)});
      // What the writer gets does not lie densely.
      writer.add(cat("key ", i), {given_.back()[0].transpose(1, 2).contiguous().transpose(1, 2),
                                  given_.back()[1], given_.back()[2]});
    }
    writer.finish();
  }
  ~SampleStoreApi() override { fs::remove_all(folder_); }
  fs::path store_path() const { return folder_ / "store"; }

  fs::path folder_;
  std::vector<std::vector<at::Tensor>> given_;
};

template <class Action>
std::string refusal(Action action) {
  try {
    action();
  } catch (const InputError& error) {
    return error.what();
  }
  return "nothing thrown";
}

TEST_F(SampleStoreApi, TensorsComeBack) {
  const SampleStore store(store_path());
  ASSERT_EQ(store.num_training() + store.num_validation(), 30);
  EXPECT_GT(store.num_validation(), 0);
  for (int64_t i = 0; i < store.num_training(); ++i) {
    const auto sample = store.training(i);
    const auto& want = given_[static_cast<size_t>(sample[2].item<int64_t>())];
    EXPECT_EQ(store.training_key(i), cat("key ", sample[2].item<int64_t>()));
    for (size_t f = 0; f < want.size(); ++f) {
      EXPECT_EQ(sample[f].scalar_type(), kFields[f].dtype);
      EXPECT_TRUE(torch::equal(sample[f], want[f])) << i << " field " << f;
    }
  }
}

TEST_F(SampleStoreApi, AnEpochTakesEverySampleOnceWhoeverReadsIt) {
  const SampleStore store(store_path());
  const SampleLoaderOptions options{.seed = 5, .microbatches = 4, .microbatch_samples = 2};
  SampleLoader all(store, kFields, options), some(store, kFields, options);
  std::multiset<int64_t> seen;
  for (int64_t step = 0; static_cast<int64_t>(seen.size()) < store.num_training(); ++step)
    for (int64_t m = 0; m < 4; ++m) {
      const Batch batch = all.training(step, m);
      EXPECT_EQ(batch[1].sizes(), (std::vector<int64_t>{2, 4}));
      for (int64_t row = 0; row < 2; ++row) {
        const auto& want = given_[static_cast<size_t>(batch[3][row].item<int64_t>())];
        const int64_t length = batch[2][row].item<int64_t>();
        EXPECT_TRUE(torch::equal(batch[0][row], want[0]));
        EXPECT_TRUE(torch::equal(batch[1][row].slice(0, 0, length), want[1]));
        EXPECT_TRUE((batch[1][row].slice(0, length) == 0).all().item<bool>());
        if (static_cast<int64_t>(seen.size()) < store.num_training())
          seen.insert(batch[3][row].item<int64_t>());
      }
      if (m % 2 == 1)
        for (size_t i = 0; i < batch.size(); ++i)
          EXPECT_TRUE(torch::equal(some.training(step, m)[i], batch[i]));
    }
  EXPECT_EQ(std::set<int64_t>(seen.begin(), seen.end()).size(), seen.size());
}

TEST_F(SampleStoreApi, WhatDoesNotFitIsOneSentence) {
  const std::string place = store_path().string();
  const SampleStore store(store_path());
  EXPECT_EQ(
      refusal([&] {
        SampleLoader(store, {{"image", at::kFloat, {3, 4, 4}}}, {});
      }),
      cat(place,
          " - field image: got U8 [3, 4, 4], want F32 [3, 4, 4]; name what the store has (shoal data show ",
          place, "), or write it anew"));
  EXPECT_EQ(refusal([&] {
              SampleLoader(store, {{"mask", at::kByte, {4, 4}}}, {});
            }),
            cat(place, " - fields: got no mask, want it among image, words, label"));
  EXPECT_EQ(refusal([&] { store.training(store.num_training()); }),
            cat(place, " - sample of the train split: got ", store.num_training(), ", want 0 to ",
                store.num_training() - 1));
  SampleStoreWriter writer(folder_ / "other", kFields);
  const std::string other = (folder_ / "other").string();
  EXPECT_EQ(refusal([&] { writer.add("a", {given_[0][0]}); }),
            cat(other, " - sample a: got 1 tensors, want 3, one for each field"));
  EXPECT_EQ(refusal([&] {
              writer.add("a", {given_[0][0].to(at::kFloat), given_[0][1], given_[0][2]});
            }),
            cat(other, " - sample a, field image: got F32 [3, 4, 4], want U8 [3, 4, 4]"));
  EXPECT_EQ(refusal([&] {
              SampleStoreWriter(folder_ / "third", {{"z", at::kComplexFloat, {}}});
            }),
            cat((folder_ / "third").string(),
                " - field z: got dtype ComplexFloat, want one of U8, I8, I16, I32, I64, F16, BF16, F32, F64, "
                "BOOL"));
}

TEST_F(SampleStoreApi, ARunIsTheSameOnAnyDevices) {
  const auto weights_on = [&](int devices) {
    std::string hash;
    World::threads(devices, [&](World& world) {
      const SampleStore store(store_path());
      SampleLoader loader(store, {kFields[0], kFields[2]},
                          {.seed = 2, .microbatches = 4, .microbatch_samples = 3});
      const auto model = describe([] { return torch::nn::Linear(48, 30); });
      const auto loss = [](torch::nn::Linear& net, const Batch& batch) {
        return torch::cross_entropy_loss(net(batch[0].to(at::kFloat).flatten(1) / 255), batch[1]);
      };
      Trainer trainer(world, model, loss, {.microbatches = 4});
      for (int step = 0; step < 4; ++step)
        trainer.step([&](int64_t microbatch) { return loader.training(trainer.steps_done(), microbatch); });
      EXPECT_GT(
          trainer.evaluate(loader.num_validation_batches(), [&](int64_t i) { return loader.validation(i); }),
          0);
      if (world.rank() == 0) {
        const at::Tensor weight = trainer.parameter("weight").contiguous();
        hash = hash_hex({static_cast<const std::byte*>(weight.const_data_ptr()), weight.nbytes()});
      }
    });
    return hash;
  };
  const std::string one = weights_on(1);
  EXPECT_EQ(weights_on(2), one);
  EXPECT_EQ(weights_on(3), one);
}

}  // namespace
}  // namespace shoal
