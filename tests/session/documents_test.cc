// Attention that stays within a document: what the mask says, and that a window of several documents gives what
// each of them gives alone.
#include "models/documents.h"

#include <gtest/gtest.h>

#include "models/gpt.h"
#include "models/llama.h"

namespace shoal {
namespace {

using torch::indexing::Slice;

TEST(Documents, EachTokenSeesItsOwnUpToItself) {
  const auto tokens = torch::tensor({5, 9, 9, 5, 5, 9, 5}).unsqueeze(0);  // 9 ends: 5 9 | 9 | 5 5 9 | 5
  const auto mask = models::document_mask(tokens, 9).value();
  ASSERT_EQ(mask.sizes(), (std::vector<int64_t>{1, 1, 7, 7}));
  const std::vector<int64_t> document = {0, 0, 1, 2, 2, 2, 3};
  for (int64_t t = 0; t < 7; ++t)
    for (int64_t s = 0; s < 7; ++s)
      EXPECT_EQ(mask[0][0][t][s].item<bool>(), s <= t && document[static_cast<size_t>(s)] == document[static_cast<size_t>(t)])
          << t << " " << s;
}

TEST(Documents, OfALlamaGiveWhatTheyGiveAlone) {
  torch::manual_seed(1);
  models::LlamaConfig config{.vocabulary = 16, .layers = 2, .width = 32, .heads = 4, .kv_heads = 2};
  config.end_of_document = 9;
  models::Llama model(config);
  const torch::NoGradGuard no_grad;
  const auto tokens = torch::tensor({3, 4, 5, 9, 6, 9, 7, 8, 2, 1}).unsqueeze(0);
  const auto together = model(tokens);
  for (const auto& [begin, end] : {std::pair{0, 4}, {4, 6}, {6, 10}}) {  // its positions are relative
    const auto alone = model(tokens.index({Slice(), Slice(begin, end)}));
    EXPECT_TRUE(torch::allclose(together.index({Slice(), Slice(begin, end)}), alone, 1e-4, 1e-5)) << begin;
  }
  config.end_of_document = -1;
  torch::manual_seed(1);
  models::Llama without(config);
  const auto mixed = without(tokens);
  EXPECT_TRUE(torch::allclose(together.index({Slice(), Slice(0, 4)}), mixed.index({Slice(), Slice(0, 4)}), 1e-4, 1e-5));
  EXPECT_FALSE(torch::allclose(together.index({Slice(), Slice(6, 10)}), mixed.index({Slice(), Slice(6, 10)}), 1e-2, 1e-3));
}

TEST(Documents, OfAGptDoNotReachThoseBehindThem) {
  torch::manual_seed(1);
  models::Gpt model(models::GptConfig{.vocabulary = 16, .layers = 2, .width = 32, .heads = 4, .context = 10, .end_of_document = 9});
  const torch::NoGradGuard no_grad;
  auto tokens = torch::tensor({3, 4, 5, 9, 6, 9, 7, 8, 2, 1}).unsqueeze(0);
  const auto before = model(tokens);
  tokens.index_put_({0, 1}, 8);
  const auto changed = model(tokens).ne(before).any(-1)[0];
  for (int64_t t = 0; t < 10; ++t) EXPECT_EQ(changed[t].item<bool>(), t >= 1 && t < 4) << t;
}

}  // namespace
}  // namespace shoal
