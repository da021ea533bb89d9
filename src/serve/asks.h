// What clients ask for, as the OpenAI API writes it (https://platform.openai.com/docs/api-reference/completions and
// .../chat), checked field by field: types, ranges, unknown names. docs/serving.md lists all fields.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "infer/engine.h"
#include "serve/fields.h"
#include "text/tokenizer.h"

namespace shoal::serve {

using text::Token;

constexpr int64_t kMostAnswers = 128;  // of one request
constexpr size_t kMostStops = 4;

enum class Form : uint8_t { kFree, kObject, kSchema, kGbnf };

/// What completions and chats have alike.
struct Ask {
  std::string model;  // "": whichever is served
  infer::Sampling sampling;
  bool seeded = false;  // the client gave sampling.seed
  std::vector<std::string> stop;
  int64_t n = 1;
  std::optional<int64_t> max_tokens;
  bool stream = false, include_usage = false;
  int alternatives = -1;  // as infer::Request has them
  Form form = Form::kFree;
  Json schema;       // of kSchema
  std::string gbnf;  // of kGbnf
};

using Prompt = std::variant<std::string, std::vector<Token>>;

struct CompletionAsk : Ask {
  std::vector<Prompt> prompts;  // n answers to each
  bool echo = false;            // the prompt is part of the text
};

struct ChatAsk : Ask {
  Json messages;  // [{"role": ..., "content": a text}...]
};

struct EmbeddingAsk {
  std::string model;
  std::vector<Prompt> inputs;
  bool base64 = false;
};

/// `vocabulary`: tokens are below it. All throw ApiError (400).
CompletionAsk parse_completion(const Json& body, Token vocabulary);
ChatAsk parse_chat(const Json& body, Token vocabulary);
EmbeddingAsk parse_embedding(const Json& body, Token vocabulary);

/// A list of tokens, each below `vocabulary`.
std::vector<Token> parse_tokens(const Fields&, const std::string& name, const Json& list, Token vocabulary);
/// A text, a list of texts, a list of tokens or a list of such lists; at least one, at most `most`.
std::vector<Prompt> parse_prompts(const Fields&, const std::string& name, const Json&, Token vocabulary,
                                  size_t most);

}  // namespace shoal::serve
