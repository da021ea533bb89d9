// Answers to prompts, for many at once, on any number of devices: the scheduler, the cache of keys and values,
// the sampler, and the devices, as one object. What a request is answered does not depend on what else the
// engine does, nor on the layout: tokens and log-probabilities are the same to the bit (docs/inference.md).
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "formats/model_file.h"
#include "text/constraint.h"
#include "text/tokenizer.h"

namespace shoal::infer {

using text::Token;

struct EngineOptions {
  int64_t tp = 1, pp = 1, dp = 1;  // devices = tp * pp * dp; each a process
  int64_t cache_tokens = 0;        // places for keys and values; 0: for 8 whole contexts, within half of the memory
  int64_t batch_tokens = 512;      // of prompts and answers in one step, at most
  int64_t batch_requests = 64;     // in one step, at most
  int64_t context = 0;             // 0: the model's
  bool prefix_cache = true;        // prompts that begin alike share places
  int threads = 1;                 // of each device
};

/// "tp=2,pp=2": sets tp, pp and dp, each 1 where it is not named. Throws InputError, which begins with `place`.
void set_layout(EngineOptions&, const std::string& layout, const std::string& place);

struct Sampling {
  double temperature = 1;  // 0: the likeliest token, the first of equals
  int64_t top_k = 0;       // 0: all
  double top_p = 1, min_p = 0;
  double repetition_penalty = 1;                      // divides or multiplies logits of tokens seen (Keskar et al., 2019)
  double presence_penalty = 0, frequency_penalty = 0; // of tokens of the answer, as OpenAI defines them
  std::vector<std::pair<Token, double>> logit_bias;
  uint64_t seed = 0;  // a draw is a function of (seed, answer, position) alone
  uint64_t answer = 0;  // which of a request's n answers
  int64_t first_draw = 0;  // position of the answer's first token, where it continues another
};

struct Request {
  std::vector<Token> prompt;  // at least one
  int64_t max_tokens = 16;    // at least 0; prompt and answer together fit the context, but for the last token
  Sampling sampling;
  std::vector<Token> stop_tokens;   // end the answer, and are given out as the last token
  int alternatives = -1;            // log-probabilities: -1 none, 0 of the chosen, n also of the n likeliest
  bool prompt_logprobs = false;     // of each token of the prompt but the first, too
  std::shared_ptr<const text::Grammar> grammar;
  std::string client;               // requests of several clients take turns
};

struct TokenResult {
  Token token = 0;
  float logprob = 0;  // natural logarithm, of the model's own distribution: before temperature, penalties, biases
  std::vector<std::pair<Token, float>> alternatives;  // the likeliest first; of equals, the lower id
};

enum class Finish : uint8_t { kStop, kLength, kCancelled, kFailed };

/// Called from the engine's own thread, in order: prompt() once if asked for, token() for each, finished() once
/// and last. They must not block long, and may call Engine::cancel.
struct Callbacks {
  std::function<void(std::vector<TokenResult>)> prompt;
  std::function<void(const TokenResult&)> token;
  std::function<void(Finish, const std::string& sentence)> finished;  // sentence: of kFailed, what happened
};

/// What an operator wants to see at a glance. Counters count from the start.
struct EngineState {
  int64_t running = 0, queued = 0;
  int64_t cache_places = 0, cache_used = 0;  // tokens
  int64_t prompt_tokens = 0, prompt_tokens_shared = 0, answer_tokens = 0;
  int64_t finished = 0, cancelled = 0, failed = 0, preempted = 0, restarts = 0, steps = 0;
  double step_seconds = 0;  // in all
  bool ready = false;       // devices are up
};

class Engine {
 public:
  /// Starts the devices and loads the model; returns when they are ready. Throws InputError where the layout
  /// does not suit the model, JobError where devices cannot be had.
  Engine(const std::string& model_path, const EngineOptions&);
  /// Ends what still runs as kCancelled.
  ~Engine();

  /// Any thread. Throws InputError where the request cannot be: too long for the context, a token that is none.
  uint64_t submit(Request, Callbacks);
  /// Any thread. Unknown or finished ids do nothing. finished(kCancelled) follows, unless the end came first.
  void cancel(uint64_t id);

  /// The mean of the last layer's normed states over the tokens, scaled to length 1. Blocking. Any thread.
  std::vector<float> embed(const std::vector<Token>&);

  EngineState state() const;
  const formats::ModelConfig& config() const;
  int64_t context() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace shoal::infer
