// A model whose answers are known: it repeats its prompt, token by token, and then ends. Its engine is a thread
// that gives each running answer a token a step, slowly where a test wants to meet it under way.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <list>
#include <mutex>
#include <string>
#include <thread>

#include "serve/model.h"
#include "shoal/error.h"

namespace shoal::serve {

/// Tokens 0 to 255 are bytes, 256 is the end, 257 the beginning, the rest are words.
class FakeTokenizer final : public text::Tokenizer {
 public:
  static constexpr Token kEnd = 256, kBegin = 257, kVocabulary = 262;
  FakeTokenizer() {
    spec_.bos = kBegin;
    spec_.eos = kEnd;
    spec_.ends = {kEnd};
    spec_.add_bos = true;
  }
  std::vector<Token> encode(std::string_view text, const text::EncodeOptions& options) const override {
    std::vector<Token> tokens;
    if (options.add_special) tokens.push_back(kBegin);
    for (const char c : text) tokens.push_back(static_cast<unsigned char>(c));
    return tokens;
  }
  std::string piece(Token token, bool special) const override {
    if (token < 256) return std::string(1, static_cast<char>(token));
    const char* const words[] = {special ? "<end>" : "", special ? "<begin>" : "", "Hello", " world", "STOP here", "\xc3"};
    return words[token - 256];
  }
  std::string decode(std::span<const Token> tokens, bool special) const override {
    std::string text;
    for (const Token token : tokens) text += piece(token, special);
    return text;
  }
  const text::TokenizerSpec& spec() const override { return spec_; }

 private:
  text::TokenizerSpec spec_;
};

class FakeGrammar : public text::Grammar {
 public:
  explicit FakeGrammar(std::string text) : text(std::move(text)) {}
  const std::string text;
};

class FakeModel final : public Model {
 public:
  explicit FakeModel(std::string name = "fake", std::chrono::microseconds step = {}, size_t at_once = 8)
      : step_(step), at_once_(at_once) {
    facts_ = {.name = std::move(name), .description = "a fake", .fingerprint = "fp_fake", .context = 1000,
              .vocabulary = FakeTokenizer::kVocabulary, .created = 1};
    thread_ = std::thread([this] { run(); });
  }
  ~FakeModel() override {
    {
      const std::lock_guard lock(mutex_);
      ending_ = true;
    }
    changed_.notify_all();
    thread_.join();
  }

  const ModelFacts& facts() const override { return facts_; }
  const text::Tokenizer& tokenizer() const override { return tokenizer_; }
  std::vector<Token> chat_prompt(const nlohmann::ordered_json& messages) const override {
    std::string text;
    for (const auto& message : messages) {
      if (message["content"] == "refuse me") throw InputError("chat template - refused: got what it does not want");
      text += message["content"].get<std::string>();
    }
    return tokenizer_.encode(text, {});
  }
  std::shared_ptr<const text::Grammar> gbnf(const std::string& text) const override {
    if (text == "wrong") throw InputError("grammar:1 - got no rule, want root ::= ...");
    return std::make_shared<FakeGrammar>(text);
  }
  std::shared_ptr<const text::Grammar> schema(const nlohmann::ordered_json& schema) const override {
    return std::make_shared<FakeGrammar>(schema.dump());
  }
  std::shared_ptr<const text::Grammar> any_object() const override { return std::make_shared<FakeGrammar>("{}"); }

  uint64_t submit(infer::Request request, infer::Callbacks callbacks) override {
    const std::lock_guard lock(mutex_);
    if (refuse_) throw InputError("request - refused: as the test wants it");
    requests.push_back(request);
    waiting_.push_back({++last_, std::move(request), std::move(callbacks), 0, false});
    changed_.notify_all();
    return last_;
  }
  void cancel(uint64_t id) override {
    const std::lock_guard lock(mutex_);
    for (auto* const list : {&running_, &waiting_})
      for (Job& job : *list)
        if (job.id == id) job.cancelled = true;
  }
  std::vector<float> embed(const std::vector<Token>& tokens) override {
    if (tokens.back() == '!') throw JobError("device 0 - died: as the test wants it");
    return {static_cast<float>(tokens.size()), 0.5F, -0.25F};
  }
  infer::EngineState state() const override {
    const std::lock_guard lock(mutex_);
    infer::EngineState state = state_;
    state.running = static_cast<int64_t>(running_.size());
    state.queued = static_cast<int64_t>(waiting_.size());
    state.ready = ready;
    return state;
  }

  static float logprob(Token token) { return -static_cast<float>(token + 1) / 3; }

  // What tests turn.
  std::atomic<bool> ready{true}, failing{false}, refuse_{false}, paused{false};
  std::vector<infer::Request> requests;  // all that came; REQUIRES: none comes now

 private:
  struct Job {
    uint64_t id;
    infer::Request request;
    infer::Callbacks callbacks;
    int64_t done;
    bool cancelled;
  };
  static infer::TokenResult describe(Token token, int alternatives) {
    infer::TokenResult result{token, logprob(token), {}};
    for (int i = 0; i < alternatives; ++i) result.alternatives.emplace_back((token + i) % 258, logprob(token) - static_cast<float>(i));
    return result;
  }

  void run() {
    std::unique_lock lock(mutex_);
    for (;;) {
      changed_.wait(lock, [&] { return ending_ || !running_.empty() || !waiting_.empty(); });
      if (running_.empty() && waiting_.empty()) return;
      // What is cancelled joins too, so that it is told; while paused nothing else does.
      for (auto next = waiting_.begin(); next != waiting_.end();) {
        const auto job = next++;
        if (ending_ || job->cancelled || (!paused && running_.size() < at_once_))
          running_.splice(running_.end(), waiting_, job);
      }
      for (auto next = running_.begin(); next != running_.end();) {
        const auto job = next++;
        const bool cancelled = job->cancelled || ending_;
        lock.unlock();
        const bool over = advance(*job, cancelled);
        lock.lock();
        if (over) running_.erase(job);
      }
      ++state_.steps;
      const auto pause = paused ? std::chrono::microseconds(1000) : step_;
      if (pause.count() > 0) changed_.wait_for(lock, pause, [&] { return ending_; });
    }
  }

  bool advance(Job& job, bool cancelled) {
    const infer::Request& request = job.request;
    const auto end = [&](infer::Finish finish, const char* sentence = "") {
      job.callbacks.finished(finish, sentence);
      return true;
    };
    if (cancelled) return end(infer::Finish::kCancelled);
    if (paused) return false;
    if (failing && job.done >= 2) return end(infer::Finish::kFailed, "device 1 - died three times: as the test wants it");
    if (job.done == 0 && request.prompt_logprobs) {
      std::vector<infer::TokenResult> scores;
      for (size_t i = 1; i < request.prompt.size(); ++i) scores.push_back(describe(request.prompt[i], request.alternatives));
      job.callbacks.prompt(std::move(scores));
    }
    if (job.done >= request.max_tokens) return end(infer::Finish::kLength);
    const auto at = static_cast<size_t>(job.done++) + (request.prompt[0] == FakeTokenizer::kBegin ? 1 : 0);
    const Token token = at < request.prompt.size() ? request.prompt[at] : FakeTokenizer::kEnd;
    job.callbacks.token(describe(token, std::max(0, request.alternatives)));
    if (token == FakeTokenizer::kEnd) return end(infer::Finish::kStop);
    return job.done >= request.max_tokens ? end(infer::Finish::kLength) : false;
  }

  FakeTokenizer tokenizer_;
  ModelFacts facts_;
  const std::chrono::microseconds step_;
  const size_t at_once_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::list<Job> running_, waiting_;
  infer::EngineState state_;
  uint64_t last_ = 0;
  bool ending_ = false;
  std::thread thread_;
};

}  // namespace shoal::serve
