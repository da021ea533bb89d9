#include "serve/formats.h"

#include <atomic>
#include <cmath>
#include <ctime>
#include <random>
#include <utility>

namespace shoal::serve {
namespace {

/// "chatcmpl-<16 hexadecimal digits>", never twice in a process, and not to be guessed from another's.
std::string fresh_id(const char* prefix) {
  static std::atomic<uint64_t> count{std::random_device()()};
  constexpr const char* kDigits = "0123456789abcdef";
  uint64_t bits = (count++ ^ 0x9e3779b97f4a7c15u) * 0xd6e8feb86659fd93u;
  std::string id = prefix;
  for (int i = 0; i < 16; ++i, bits >>= 4) id += kDigits[bits & 15];
  return id;
}

bool is_utf8(const std::string& bytes) {
  text::Utf8Stream stream;
  return stream.add(bytes) == bytes && stream.finish().empty();
}

/// A token's bytes as text; of what is no text, "bytes:\xe2\x96", as OpenAI writes it, so that tokens stay distinct.
std::string token_text(const std::string& bytes) {
  if (is_utf8(bytes)) return bytes;
  constexpr const char* kDigits = "0123456789abcdef";
  std::string text = "bytes:";
  for (const char c : bytes) {
    const auto byte = static_cast<unsigned char>(c);
    text += {'\\', 'x', kDigits[byte >> 4], kDigits[byte & 15]};
  }
  return text;
}

Json byte_list(const std::string& bytes) {
  Json list = Json::array();
  for (const char c : bytes) list.push_back(static_cast<unsigned char>(c));
  return list;
}

/// JSON has no infinities: what a grammar or a bias made impossible is as unlikely as OpenAI writes it.
Json number(float logprob) { return std::isfinite(logprob) ? Json(logprob) : Json(-9999.0); }

class CompletionFormat final : public Format {
 public:
  using Format::Format;
  Json opening(int64_t) const override { return nullptr; }
  Json choice(int64_t index, const Piece& piece, const std::string& finish) const override {
    Json logprobs;
    if (with_tokens()) {
      logprobs = {{"tokens", Json::array()}, {"token_logprobs", Json::array()}, {"top_logprobs", Json::array()},
                  {"text_offset", Json::array()}};
      for (const ShownToken& token : piece.tokens) {
        logprobs["tokens"].push_back(token_text(token.bytes));
        logprobs["token_logprobs"].push_back(token.scored ? number(token.result.logprob) : Json());
        Json top = token.scored ? Json::object() : Json();
        for (const auto& [other, logprob] : token.result.alternatives)
          top[token_text(model_->tokenizer().piece(other, true))] = number(logprob);
        logprobs["top_logprobs"].push_back(std::move(top));
        logprobs["text_offset"].push_back(token.offset);
      }
    }
    return {{"index", index},
            {"text", piece.text},
            {"logprobs", std::move(logprobs)},
            {"finish_reason", finish.empty() ? Json() : Json(finish)}};
  }

 private:
  const char* object() const override { return "text_completion"; }
};

class ChatFormat final : public Format {
 public:
  using Format::Format;
  Json opening(int64_t index) const override {
    return {{"index", index},
            {"delta", {{"role", "assistant"}, {"content", ""}}},
            {"logprobs", nullptr},
            {"finish_reason", nullptr}};
  }
  Json choice(int64_t index, const Piece& piece, const std::string& finish) const override {
    Json logprobs;
    if (with_tokens() && !(streamed_ && piece.tokens.empty())) {
      logprobs = {{"content", Json::array()}, {"refusal", nullptr}};
      for (const ShownToken& token : piece.tokens) {
        Json entry = one(token.bytes, token.result.logprob);
        entry["top_logprobs"] = Json::array();
        for (const auto& [other, logprob] : token.result.alternatives)
          entry["top_logprobs"].push_back(one(model_->tokenizer().piece(other, true), logprob));
        logprobs["content"].push_back(std::move(entry));
      }
    }
    Json made = {{"index", index}};
    if (streamed_)
      made["delta"] = piece.text.empty() ? Json::object() : Json{{"content", piece.text}};
    else
      made["message"] = {{"role", "assistant"}, {"content", piece.text}, {"refusal", nullptr}};
    made["logprobs"] = std::move(logprobs);
    made["finish_reason"] = finish.empty() ? Json() : Json(finish);
    return made;
  }

 private:
  static Json one(const std::string& bytes, float logprob) {
    return {{"token", token_text(bytes)}, {"logprob", number(logprob)}, {"bytes", byte_list(bytes)}};
  }
  const char* object() const override { return streamed_ ? "chat.completion.chunk" : "chat.completion"; }
};

}  // namespace

Json Usage::json() const {
  return {{"prompt_tokens", prompt_tokens},
          {"completion_tokens", answer_tokens},
          {"total_tokens", prompt_tokens + answer_tokens}};
}

Format::Format(std::shared_ptr<Model> model, std::string id, int alternatives, bool streamed, bool include_usage)
    : model_(std::move(model)),
      streamed_(streamed),
      id_(std::move(id)),
      alternatives_(alternatives),
      include_usage_(include_usage),
      created_(std::time(nullptr)) {}

Json Format::envelope(Json choices, const Usage* usage) const {
  Json made = {{"id", id_},
               {"object", object()},
               {"created", created_},
               {"model", model_->facts().name},
               {"system_fingerprint", model_->facts().fingerprint},
               {"choices", std::move(choices)}};
  if (usage)
    made["usage"] = usage->json();
  else if (streamed_ && include_usage_)
    made["usage"] = nullptr;
  return made;
}

std::unique_ptr<Format> completion_format(std::shared_ptr<Model> model, int alternatives, bool streamed,
                                          bool include_usage) {
  return std::make_unique<CompletionFormat>(std::move(model), fresh_id("cmpl-"), alternatives, streamed,
                                            include_usage);
}

std::unique_ptr<Format> chat_format(std::shared_ptr<Model> model, int alternatives, bool streamed,
                                    bool include_usage) {
  return std::make_unique<ChatFormat>(std::move(model), fresh_id("chatcmpl-"), alternatives, streamed,
                                      include_usage);
}

}  // namespace shoal::serve
