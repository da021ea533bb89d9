// Small models as files, and answers of an engine to compare.
#pragma once

#include <gtest/gtest.h>

#include <future>
#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "formats/support.h"
#include "infer/engine.h"

namespace shoal::infer {

inline constexpr int64_t kTinyVocabulary = 40;  // that of write_tiny_gguf's tokenizer

/// 4 kv heads, and layers enough, so that it can be divided; 96 positions.
inline formats::ModelConfig tiny_config(formats::Architecture architecture, int64_t layers = 4) {
  formats::ModelConfig config = formats::tiny_config(architecture, false);
  config.heads = architecture == formats::Architecture::kGpt2 ? 4 : 8;
  config.kv_heads = 4;
  config.head_width = config.width / config.heads;
  if (architecture == formats::Architecture::kLlama) config.rope_width = config.head_width;
  config.layers = layers;
  config.context = 96;
  return config;
}

/// The file of such a model, in a folder that goes with it.
class TinyFile {
 public:
  TinyFile(formats::Architecture architecture, formats::WeightType type, int64_t layers = 4) {
    const formats::TinyModel model = formats::tiny_model(tiny_config(architecture, layers), type);
    formats::write_tiny_gguf(path(), model, architecture == formats::Architecture::kLlama ? "llama" : "gpt2");
  }
  std::string path() const { return (folder_.path() / "model.gguf").string(); }

 private:
  formats::TemporaryFolder folder_;
};

struct Answer {
  std::vector<TokenResult> prompt, tokens;
  Finish finish = Finish::kFailed;
  std::string sentence;
};

/// All that the model decides, as text with every bit.
inline std::string bits(const std::vector<TokenResult>& results) {
  const auto number = [](float value) {
    char text[32];
    std::snprintf(text, sizeof text, "%a", static_cast<double>(value));
    return std::string(text);
  };
  std::string text;
  for (const TokenResult& one : results) {
    text += std::to_string(one.token) + ":" + number(one.logprob);
    for (const auto& [token, logprob] : one.alternatives)
      text += "," + std::to_string(token) + ":" + number(logprob);
    text += " ";
  }
  return text;
}
inline std::string bits(const Answer& answer) { return bits(answer.prompt) + "| " + bits(answer.tokens); }

struct Asked {
  uint64_t id;
  std::future<Answer> answer;
};

inline Asked ask(Engine& engine, Request request) {
  auto answer = std::make_shared<Answer>();
  auto promise = std::make_shared<std::promise<Answer>>();
  Asked asked{0, promise->get_future()};
  asked.id = engine.submit(
      std::move(request),
      {.prompt = [answer](std::vector<TokenResult> results) { answer->prompt = std::move(results); },
       .token = [answer](const TokenResult& result) { answer->tokens.push_back(result); },
       .finished =
           [answer, promise](Finish finish, const std::string& sentence) {
             answer->finish = finish, answer->sentence = sentence;
             promise->set_value(std::move(*answer));
           }});
  return asked;
}

/// Waits no longer than a minute: nothing may hang.
inline Answer answer_of(Asked asked) {
  if (asked.answer.wait_for(std::chrono::seconds(60)) != std::future_status::ready) {
    ADD_FAILURE() << "request " << asked.id << " hangs";
    std::abort();  // its callbacks would outlive the test
  }
  return asked.answer.get();
}

inline std::vector<Token> random_tokens(std::mt19937& random, int64_t count) {
  std::vector<Token> tokens;
  for (int64_t i = 0; i < count; ++i) tokens.push_back(static_cast<Token>(random() % kTinyVocabulary));
  return tokens;
}

inline Request greedy_request(std::vector<Token> prompt, int64_t max_tokens) {
  Request request{.prompt = std::move(prompt), .max_tokens = max_tokens};
  request.sampling.temperature = 0;
  request.alternatives = 2;
  return request;
}

}  // namespace shoal::infer
