#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "base/text.h"
#include "data/corpus.h"
#include "data/sample_order.h"
#include "data/sample_source.h"

namespace shoal::data {
namespace {

std::vector<int64_t> epoch_of(const SampleOrder& order, int64_t epoch) {
  std::vector<int64_t> windows;
  for (int64_t i = 0; i < order.num_windows(); ++i) windows.push_back(order(epoch * order.num_windows() + i));
  return windows;
}

TEST(SampleOrder, EveryWindowOnceAnEpoch) {
  for (int64_t n : {1, 2, 3, 4, 5, 7, 16, 17, 64, 100, 1000, 4096, 4097, 20'000}) {
    const SampleOrder order(11, n);
    for (int64_t epoch : {int64_t{0}, int64_t{1}, int64_t{1'000'000'000}}) {
      std::vector<int64_t> windows = epoch_of(order, epoch);
      std::sort(windows.begin(), windows.end());
      for (int64_t i = 0; i < n; ++i)
        ASSERT_EQ(windows[static_cast<size_t>(i)], i) << n << " windows, epoch " << epoch;
    }
  }
}

TEST(SampleOrder, DependsOnSeedAndEpochAlone) {
  const SampleOrder a(1, 1000), again(1, 1000), other_seed(2, 1000);
  EXPECT_EQ(epoch_of(a, 3), epoch_of(again, 3));
  EXPECT_NE(epoch_of(a, 3), epoch_of(a, 4));
  EXPECT_NE(epoch_of(a, 3), epoch_of(other_seed, 3));
  // Written down once, so that a run started with one version goes on with another.
  EXPECT_EQ((std::vector<int64_t>{a(0), a(1), a(999), a(1000)}), (std::vector<int64_t>{492, 136, 154, 292}));
}

/// For few windows, where a Feistel network has few bits to mix: each window comes first, second... equally
/// often.
TEST(SampleOrder, IsEvenForFewWindows) {
  for (int64_t n : {2, 3, 5, 7, 10, 33}) {
    const SampleOrder order(3, n);
    const int64_t epochs = 2000 * n;
    std::vector<std::vector<double>> count(static_cast<size_t>(n),
                                           std::vector<double>(static_cast<size_t>(n)));
    for (int64_t epoch = 0; epoch < epochs; ++epoch) {
      for (int64_t i = 0; i < n; ++i)
        ++count[static_cast<size_t>(i)][static_cast<size_t>(order(epoch * n + i))];
    }
    for (const auto& row : count) {
      for (double c : row) EXPECT_NEAR(c, 2000, 6 * std::sqrt(2000)) << n << " windows";
    }
  }
}

/// Neighbours in the order are no neighbours in the text: the mean distance is that of two random windows,
/// n/3.
TEST(SampleOrder, MixesFarAndWide) {
  const int64_t n = 10'000;
  const std::vector<int64_t> windows = epoch_of(SampleOrder(4, n), 0);
  double distance = 0;
  for (size_t i = 1; i < windows.size(); ++i)
    distance += static_cast<double>(std::abs(windows[i] - windows[i - 1]));
  EXPECT_NEAR(distance / static_cast<double>(n), static_cast<double>(n) / 3, 100);
}

TEST(StoreSource, GivesEveryWindowOfTheText) {
  TempFolder temp;
  write_corpus(temp / "in", {{"a", "0123456789"}, {"b", "abcde"}, {"c", "vwxyz"}});
  build_on(1, {.inputs = {(temp / "in").string()},
               .suffixes = {},
               .exclude = {},
               .validation_every = 3,
               .shard_tokens = 8,
               .out = temp / "store"});
  const auto store = std::make_shared<TokenStore>(temp / "store");
  const StoreSource source(store, 4, 1);
  EXPECT_EQ(source.vocabulary(), 257);
  EXPECT_EQ(source.context(), 4);
  EXPECT_EQ(source.unigram_entropy(), store->manifest()[Split::kValidation].unigram_entropy);

  // 17 tokens: 4 windows of 5, each beginning with the last token of the one before.
  std::set<std::string> texts;
  for (int64_t i = 0; i < 4; ++i) {
    std::vector<int64_t> tokens(5);
    source.sample(i, tokens);
    std::string text;
    for (int64_t token : tokens) text += token == kEndOfDocument ? '$' : static_cast<char>(token);
    texts.insert(text);
    std::vector<int64_t> again(5);
    StoreSource(store, 4, 1).sample(i, again);
    EXPECT_EQ(tokens, again);
  }
  EXPECT_EQ(texts, (std::set<std::string>{"01234", "45678", "89$ab", "bcde$"}));

  ASSERT_EQ(source.num_validation_samples(), 1);
  std::vector<int64_t> tokens(5);
  source.validation_sample(0, tokens);
  EXPECT_EQ(tokens, (std::vector<int64_t>{'v', 'w', 'x', 'y', 'z'}));

  EXPECT_EQ(StoreSource(store, 16, 1).num_validation_samples(), 0);
  EXPECT_EQ(error_of([&] { StoreSource(store, 17, 1); }),
            cat("input: ", (temp / "store").string(),
                " - train split too short: got 17 tokens, want at least 18 (the context and one more); add "
                "text, or choose a smaller context"));
}

TEST(RandomSource, WalksTheVocabulary) {
  const RandomSource source(4096, 256, 9);
  std::vector<int64_t> tokens(257), again(257);
  std::set<int64_t> firsts, noises;
  for (int64_t i = 0; i < 500; ++i) {
    source.sample(i, tokens);
    RandomSource(4096, 256, 9).sample(i, again);
    ASSERT_EQ(tokens, again);
    firsts.insert(tokens[0]);
    for (size_t k = 0; k + 1 < tokens.size(); ++k) {
      const int64_t noise = ((tokens[k + 1] - 5 * tokens[k] - 17) % 4096 + 4096) % 4096;
      ASSERT_LT(noise, 8);
      noises.insert(noise);
    }
  }
  EXPECT_EQ(noises.size(), 8u);
  EXPECT_GT(firsts.size(), 450u);
}

TEST(RandomSource, SeedsDifferButValidationStays) {
  std::vector<int64_t> a(9), b(9);
  RandomSource(100, 8, 1).sample(0, a);
  RandomSource(100, 8, 2).sample(0, b);
  EXPECT_NE(a, b);
  RandomSource(100, 8, 1).validation_sample(0, a);
  RandomSource(100, 8, 2).validation_sample(0, b);
  EXPECT_EQ(a, b);
  RandomSource(100, 8, 1).validation_sample(1, b);
  EXPECT_NE(a, b);
}

}  // namespace
}  // namespace shoal::data
