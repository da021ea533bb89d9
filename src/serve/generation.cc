#include "serve/generation.h"

#include <algorithm>
#include <utility>

#include "shoal/error.h"

namespace shoal::serve {

ApiError going_down() {
  return ApiError(503, "server - got no time to finish: it is going down; send the request again", "", "cancelled");
}

Generation::Generation(std::shared_ptr<Model> model, std::unique_ptr<Format> format, Work work,
                       std::shared_ptr<Exchange> exchange, Metrics& metrics)
    : model_(std::move(model)),
      format_(std::move(format)),
      work_(std::move(work)),
      exchange_(std::move(exchange)),
      metrics_(metrics) {
  const size_t n = static_cast<size_t>(work_.ask.n);
  for (size_t i = 0; i < work_.prompts.size() * n; ++i) {
    const int64_t before = work_.echoes.empty() ? 0 : characters(work_.echoes[i / n]);
    choices_.push_back({AnswerText(model_->tokenizer(), work_.ask.stop, before)});
  }
  for (const auto& prompt : work_.prompts) usage_.prompt_tokens += static_cast<int64_t>(prompt.size());
  open_ = choices_.size();
}

infer::Request Generation::request(size_t index) const {
  infer::Request request;
  const size_t n = static_cast<size_t>(work_.ask.n);
  request.prompt = work_.prompts[index / n];
  request.max_tokens = *work_.ask.max_tokens;
  request.sampling = work_.ask.sampling;
  request.sampling.answer = index % n;
  request.stop_tokens = model_->tokenizer().spec().ends;
  request.alternatives = work_.ask.alternatives;
  request.prompt_logprobs = !work_.echoes.empty() && work_.ask.alternatives >= 0;
  request.grammar = work_.grammar;
  request.client = work_.client;
  return request;
}

void Generation::start() {
  const std::weak_ptr<Generation> weak = weak_from_this();
  exchange_->when_client_leaves([weak] {
    if (const auto self = weak.lock())
      self->cancel(ApiError(499, "connection - got its end before the answer was ready, want it open until then", "",
                            "client_closed"));
  });
  for (size_t i = 0; i < choices_.size(); ++i) {
    {
      const std::lock_guard lock(mutex_);
      if (done_) return;  // the client has left, or an answer failed
      if (!work_.echoes.empty() && work_.ask.alternatives < 0)
        show(i, Piece{work_.echoes[i / static_cast<size_t>(work_.ask.n)], {}}, "");
    }
    const auto self = shared_from_this();
    infer::Callbacks callbacks;
    callbacks.prompt = [self, i](std::vector<infer::TokenResult> scores) { self->prompt(i, std::move(scores)); };
    callbacks.token = [self, i](const infer::TokenResult& result) { self->token(i, result); };
    callbacks.finished = [self, i](infer::Finish finish, const std::string& sentence) {
      self->finished(i, finish, sentence);
    };
    uint64_t id = 0;
    try {
      id = model_->submit(request(i), std::move(callbacks));
    } catch (const InputError& error) {
      std::unique_lock lock(mutex_);
      fail(ApiError(400, error.what(), "prompt", "invalid_value"));
      return cancel_outside(lock, running());
    } catch (const JobError& error) {
      std::unique_lock lock(mutex_);
      fail(ApiError(503, error.what(), "", "unavailable"));
      return cancel_outside(lock, running());
    }
    std::unique_lock lock(mutex_);
    choices_[i].id = id;
    // It may have met a stop string, or the client have left, before the id was known.
    if ((choices_[i].over || done_) && !choices_[i].ended) cancel_outside(lock, {id});
  }
}

void Generation::cancel(const ApiError& why) {
  std::unique_lock lock(mutex_);
  if (!done_) fail(why);
  cancel_outside(lock, running());
}

std::vector<uint64_t> Generation::running() const {
  std::vector<uint64_t> ids;
  for (const Choice& choice : choices_)
    if (choice.id != 0 && !choice.ended) ids.push_back(choice.id);
  return ids;
}

// The engine may call back at once, so never with the lock held.
void Generation::cancel_outside(std::unique_lock<std::mutex>& lock, std::vector<uint64_t> ids) {
  lock.unlock();
  for (const uint64_t id : ids) model_->cancel(id);
}

void Generation::prompt(size_t index, std::vector<infer::TokenResult> scores) {
  const std::lock_guard lock(mutex_);
  if (done_) return;
  const size_t which = index / static_cast<size_t>(work_.ask.n);
  show(index, prompt_piece(model_->tokenizer(), work_.echoes[which], work_.prompts[which], std::move(scores)), "");
}

void Generation::token(size_t index, const infer::TokenResult& result) {
  std::unique_lock lock(mutex_);
  Choice& choice = choices_[index];
  if (done_ || choice.over) return;
  const auto now = Clock::now();
  const auto seconds = [&](Clock::time_point from) { return std::chrono::duration<double>(now - from).count(); };
  if (choice.tokens++ == 0) {
    metrics_.first_token(seconds(begin_));
    if (usage_.answer_tokens == 0) exchange_->note("first_token_seconds", seconds(begin_));
  } else {
    metrics_.between_tokens(seconds(choice.last));
  }
  choice.last = now;
  ++usage_.answer_tokens;
  const auto& ends = model_->tokenizer().spec().ends;
  const bool is_end = std::find(ends.begin(), ends.end(), result.token) != ends.end();
  Piece piece = choice.text.add(result, !is_end);
  if (!choice.text.stopped()) {
    if (!piece.empty()) show(index, std::move(piece), "");
    return;
  }
  show(index, std::move(piece), "stop");
  end_choice(index, "stop");
  if (choice.id != 0) cancel_outside(lock, {choice.id});
}

void Generation::finished(size_t index, infer::Finish finish, const std::string& sentence) {
  std::unique_lock lock(mutex_);
  Choice& choice = choices_[index];
  choice.ended = true;
  if (done_ || choice.over) return;
  if (finish == infer::Finish::kFailed || finish == infer::Finish::kCancelled) {
    fail(finish == infer::Finish::kFailed
             ? ApiError(500, sentence, "", "engine_failed")
             : going_down());
    return cancel_outside(lock, running());
  }
  Piece rest = choice.text.finish();
  const std::string word = finish == infer::Finish::kStop || choice.text.stopped() ? "stop" : "length";
  show(index, std::move(rest), word);
  end_choice(index, word);
}

void Generation::show(size_t index, Piece piece, const std::string& finish) {
  if (!work_.ask.stream) {
    choices_[index].shown.append(std::move(piece));
    return;
  }
  if (!exchange_->streams()) {
    exchange_->begin_stream("text/event-stream");
    for (size_t i = 0; i < choices_.size(); ++i)
      if (Json opening = format_->opening(static_cast<int64_t>(i)); !opening.is_null())
        event(format_->envelope(Json::array({std::move(opening)}), nullptr));
  }
  const auto number = static_cast<int64_t>(index);
  // As OpenAI does it, a chat's reason to finish comes in a chunk without text.
  if (!piece.empty()) event(format_->envelope(Json::array({format_->choice(number, piece, "")}), nullptr));
  if (!finish.empty()) event(format_->envelope(Json::array({format_->choice(number, {}, finish)}), nullptr));
}

void Generation::event(const Json& json) { exchange_->write("data: " + dump(json) + "\n\n"); }

void Generation::end_choice(size_t index, const std::string& finish) {
  choices_[index].over = true;
  choices_[index].finish = finish;
  if (--open_ == 0) end_all();
}

void Generation::end_all() {
  done_ = true;
  exchange_->note("prompt_tokens", usage_.prompt_tokens);
  exchange_->note("answer_tokens", usage_.answer_tokens);
  exchange_->note("finish", choices_[0].finish);
  if (work_.ask.stream) {
    if (work_.ask.include_usage) event(format_->envelope(Json::array(), &usage_));
    exchange_->write("data: [DONE]\n\n");
    exchange_->end_stream();
    return;
  }
  Json list = Json::array();
  for (size_t i = 0; i < choices_.size(); ++i)
    list.push_back(format_->choice(static_cast<int64_t>(i), choices_[i].shown, choices_[i].finish));
  exchange_->reply({200, "application/json", dump(format_->envelope(std::move(list), &usage_))});
}

void Generation::fail(const ApiError& error) {
  done_ = true;
  exchange_->note("prompt_tokens", usage_.prompt_tokens);
  exchange_->note("answer_tokens", usage_.answer_tokens);
  exchange_->note("error", error.what());
  if (!exchange_->streams()) return exchange_->reply(error.reply());
  event(error.json());
  exchange_->end_stream();
}

}  // namespace shoal::serve
