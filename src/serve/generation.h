// One request for text, from its asks to its last byte: submits an answer to the engine for each choice, turns
// tokens into text, and writes that out, whole or as server-sent events
// (https://html.spec.whatwg.org/multipage/server-sent-events.html).
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "serve/answer_text.h"
#include "serve/api_error.h"
#include "serve/asks.h"
#include "serve/formats.h"
#include "serve/http.h"
#include "serve/metrics.h"
#include "serve/model.h"

namespace shoal::serve {

/// Why a server that ends gives up answers.
ApiError going_down();

/// Any thread. Lives as long as the engine has something of it.
class Generation : public std::enable_shared_from_this<Generation> {
 public:
  struct Work {
    Ask ask;
    std::vector<std::vector<Token>> prompts;  // n answers to each
    std::vector<std::string> echoes;          // of each prompt, what is shown before the answer; empty: nothing
    std::shared_ptr<const text::Grammar> grammar;
    std::string client;  // whose turn it is
  };
  Generation(std::shared_ptr<Model>, std::unique_ptr<Format>, Work, std::shared_ptr<Exchange>, Metrics&);

  /// Hands all answers to the engine. Throws ApiError, before anything is written, where they cannot be.
  void start();
  /// Gives up: the client is told why, if it is still there.
  void cancel(const ApiError& why);

 private:
  using Clock = std::chrono::steady_clock;
  struct Choice {
    AnswerText text;
    Piece shown = {};   // of an answer that is not streamed
    uint64_t id = 0;    // of the engine; 0: not yet known
    bool over = false;  // nothing more will be shown
    bool ended = false; // the engine has let go of it
    std::string finish = {};
    int64_t tokens = 0;
    Clock::time_point last = {};
  };
  void prompt(size_t index, std::vector<infer::TokenResult>);
  void token(size_t index, const infer::TokenResult&);
  void finished(size_t index, infer::Finish, const std::string& sentence);
  infer::Request request(size_t index) const;

  // With the lock held:
  void show(size_t index, Piece, const std::string& finish);
  void event(const Json&);
  void end_choice(size_t index, const std::string& finish);
  void end_all();
  void fail(const ApiError&);
  std::vector<uint64_t> running() const;  // ids
  void cancel_outside(std::unique_lock<std::mutex>&, std::vector<uint64_t>);

  const std::shared_ptr<Model> model_;
  const std::unique_ptr<Format> format_;
  const Work work_;
  const std::shared_ptr<Exchange> exchange_;
  Metrics& metrics_;
  const Clock::time_point begin_ = Clock::now();
  std::mutex mutex_;
  std::vector<Choice> choices_;
  Usage usage_;
  size_t open_ = 0;    // choices that are not over
  bool done_ = false;  // the client has been told all that it will be
};

}  // namespace shoal::serve
