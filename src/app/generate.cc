#include "app/generate.h"

#include <algorithm>
#include <condition_variable>
#include <future>
#include <limits>
#include <memory>
#include <mutex>

#include "base/text.h"
#include "shoal/error.h"

namespace shoal::app {
namespace {

using text::Token;

constexpr size_t kAhead = 256;  // texts under way: enough for every device to be busy

struct Text {
  std::vector<Token> tokens;  // the prompt's, then the answer's
  Generated generated;
  bool is_done = false;
  std::string failure;
};

// What the engine's thread and the caller share; lives on in callbacks when the caller gives up.
struct Texts {
  std::mutex mutex;
  std::condition_variable changed;
  std::vector<Text> all;
};

class Generation {
 public:
  Generation(infer::Engine& engine, const text::Tokenizer& tokenizer, const GenerateOptions& options,
             size_t count)
      : engine_(engine), tokenizer_(tokenizer), options_(options), texts_(std::make_shared<Texts>()) {
    texts_->all.resize(count);
  }

  void start(size_t number, const std::string& prompt) {
    texts_->all[number].tokens = tokenizer_.encode(prompt, {.add_special = true, .parse_special = true});
    go_on(engine_, tokenizer_, options_, texts_, number);
  }

  Generated wait_for(size_t number) {
    std::unique_lock lock(texts_->mutex);
    Text& text = texts_->all[number];
    texts_->changed.wait(lock, [&] { return text.is_done; });
    if (!text.failure.empty()) throw JobError(text.failure);
    return std::exchange(text, {}).generated;
  }

 private:
  // As far as the context goes; from there on a token at a time, with the last part of the text before it.
  static void go_on(infer::Engine& engine, const text::Tokenizer& tokenizer, const GenerateOptions& options,
                    const std::shared_ptr<Texts>& texts, size_t number) {
    Text& text = texts->all[number];
    const int64_t context = engine.context(), length = static_cast<int64_t>(text.tokens.size());
    const int64_t seen = std::min(length, context);
    infer::Request request;
    request.prompt.assign(text.tokens.end() - seen, text.tokens.end());
    request.max_tokens = std::min(options.tokens - text.generated.tokens, context - seen + 1);
    request.sampling.temperature = options.temperature;
    request.sampling.top_k = options.top_k, request.sampling.top_p = options.top_p;
    request.sampling.seed = options.seed, request.sampling.answer = number;
    request.sampling.first_draw = text.generated.tokens;
    request.stop_tokens = tokenizer.spec().ends;
    engine.submit(std::move(request),
                  {.token =
                       [&tokenizer, texts, number](const infer::TokenResult& result) {
                         Text& text = texts->all[number];
                         text.tokens.push_back(result.token);
                         text.generated.has_ended = tokenizer.is_end(result.token);
                         if (!text.generated.has_ended) {
                           ++text.generated.tokens;
                           text.generated.text += tokenizer.piece(result.token);
                         }
                       },
                   .finished =
                       [&engine, &tokenizer, options, texts, number](infer::Finish finish,
                                                                     const std::string& sentence) {
                         Text& text = texts->all[number];
                         if (finish == infer::Finish::kLength && text.generated.tokens < options.tokens)
                           return go_on(engine, tokenizer, options, texts, number);
                         const std::lock_guard lock(texts->mutex);
                         if (finish == infer::Finish::kFailed) text.failure = sentence;
                         if (finish == infer::Finish::kCancelled)
                           text.failure = "engine - texts: it has been ended before";
                         text.is_done = true;
                         texts->changed.notify_one();
                       }});
  }

  infer::Engine& engine_;
  const text::Tokenizer& tokenizer_;
  const GenerateOptions options_;
  const std::shared_ptr<Texts> texts_;
};

}  // namespace

void generate_all(infer::Engine& engine, const text::Tokenizer& tokenizer,
                  const std::vector<std::string>& prompts, size_t first, const GenerateOptions& options,
                  const std::function<void(size_t number, const Generated&)>& done) {
  Generation generation(engine, tokenizer, options, prompts.size());
  size_t started = first;
  for (size_t number = first; number < prompts.size(); ++number) {
    for (; started < std::min(prompts.size(), number + kAhead); ++started)
      generation.start(started, prompts[started]);
    done(number, generation.wait_for(number));
  }
}

Score score_text(infer::Engine& engine, const text::Tokenizer& tokenizer, const std::string& text) {
  Score score;
  score.tokens = tokenizer.encode(text, {.add_special = true, .parse_special = true});
  const auto context = static_cast<size_t>(engine.context());
  struct Part {
    std::vector<infer::TokenResult> results;
    std::promise<std::string> failure;  // "" where there is none
  };
  std::vector<std::shared_ptr<Part>> parts;
  for (size_t begin = 0; begin < score.tokens.size(); begin += context) {
    const auto from = score.tokens.begin() + static_cast<int64_t>(begin);
    const auto part = std::make_shared<Part>();
    infer::Request request;
    request.prompt.assign(from, from + static_cast<int64_t>(std::min(context, score.tokens.size() - begin)));
    request.max_tokens = 0;
    request.prompt_logprobs = true;
    engine.submit(
        std::move(request),
        {.prompt = [part](std::vector<infer::TokenResult> results) { part->results = std::move(results); },
         .finished =
             [part](infer::Finish finish, const std::string& sentence) {
               part->failure.set_value(finish == infer::Finish::kLength ? "" : "engine - text: " + sentence);
             }});
    parts.push_back(part);
  }
  for (const auto& part : parts) {
    if (const std::string failure = part->failure.get_future().get(); !failure.empty())
      throw JobError(failure);
    score.logprobs.push_back(std::numeric_limits<float>::quiet_NaN());
    for (const infer::TokenResult& result : part->results) {
      score.logprobs.push_back(result.logprob);
      score.sum += static_cast<double>(result.logprob);
      ++score.scored;
    }
  }
  return score;
}

}  // namespace shoal::app
