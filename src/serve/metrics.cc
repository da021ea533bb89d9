#include "serve/metrics.h"

#include <algorithm>

#include "base/text.h"

namespace shoal::serve {
namespace {

std::string head(const std::string& name, const char* type, const std::string& help) {
  return cat("# HELP ", name, " ", help, "\n# TYPE ", name, " ", type, "\n");
}

template <class Number>
std::string one(const std::string& name, const char* type, const std::string& help, Number value) {
  return cat(head(name, type, help), name, " ", value, "\n");
}

}  // namespace

void Histogram::add(double seconds) {
  const auto bound = std::lower_bound(kBounds.begin(), kBounds.end(), seconds);
  ++counts_[static_cast<size_t>(bound - kBounds.begin())];
  sum_ += seconds;
}

std::string Histogram::text(const std::string& name, const std::string& help) const {
  std::string text = head(name, "histogram", help);
  uint64_t below = 0;
  for (size_t i = 0; i < kBounds.size(); ++i)
    text += cat(name, "_bucket{le=\"", kBounds[i], "\"} ", below += counts_[i], "\n");
  below += counts_.back();
  return text + cat(name, "_bucket{le=\"+Inf\"} ", below, "\n", name, "_sum ", sum_, "\n", name, "_count ", below,
                    "\n");
}

void Metrics::request(const std::string& path, int status) {
  const std::lock_guard lock(mutex_);
  ++requests_[{path, status}];
}

void Metrics::first_token(double seconds) {
  const std::lock_guard lock(mutex_);
  first_token_.add(seconds);
}

void Metrics::between_tokens(double seconds) {
  const std::lock_guard lock(mutex_);
  between_tokens_.add(seconds);
}

void Metrics::reload(bool done) {
  const std::lock_guard lock(mutex_);
  ++(done ? reloads_ : failed_reloads_);
}

std::string Metrics::text(const infer::EngineState* state, int connections) const {
  std::string text;
  {
    const std::lock_guard lock(mutex_);
    text += head("shoal_requests_total", "counter", "Requests answered, by path and HTTP status.");
    for (const auto& [key, count] : requests_)
      text += cat("shoal_requests_total{path=\"", key.first, "\",code=\"", key.second, "\"} ", count, "\n");
    text += first_token_.text("shoal_first_token_seconds", "From a request's arrival to its first token.");
    text += between_tokens_.text("shoal_between_tokens_seconds", "From a token to the next of its answer.");
    text += head("shoal_reloads_total", "counter", "Reloads of the model.");
    text += cat("shoal_reloads_total{result=\"done\"} ", reloads_, "\nshoal_reloads_total{result=\"failed\"} ",
                failed_reloads_, "\n");
  }
  text += one("shoal_connections", "gauge", "Connections that are open.", connections);
  text += one("shoal_ready", "gauge", "Whether the devices are up.", state && state->ready ? 1 : 0);
  if (!state) return text;
  // Of the model that is served now: after a reload these begin anew, as Prometheus expects of a restart.
  const char* const counter = "counter";
  const char* const gauge = "gauge";
  text += one("shoal_running", gauge, "Answers that are being computed.", state->running);
  text += one("shoal_queued", gauge, "Answers that wait.", state->queued);
  text += one("shoal_cache_places", gauge, "Tokens that the cache of keys and values holds.", state->cache_places);
  text += one("shoal_cache_used", gauge, "Of these, in use.", state->cache_used);
  text += one("shoal_prompt_tokens_total", counter, "Tokens of prompts.", state->prompt_tokens);
  text += one("shoal_prompt_tokens_shared_total", counter, "Of these, found in the cache.",
              state->prompt_tokens_shared);
  text += one("shoal_answer_tokens_total", counter, "Tokens of answers.", state->answer_tokens);
  text += one("shoal_finished_total", counter, "Answers that came to their end.", state->finished);
  text += one("shoal_cancelled_total", counter, "Answers given up, since the client left or a stop came.",
              state->cancelled);
  text += one("shoal_failed_total", counter, "Answers lost to a fault.", state->failed);
  text += one("shoal_preempted_total", counter, "Answers that had to make room in the cache and began again.",
              state->preempted);
  text += one("shoal_restarts_total", counter, "Restarts of the devices.", state->restarts);
  text += one("shoal_steps_total", counter, "Steps of the engine.", state->steps);
  text += one("shoal_step_seconds_total", counter, "Seconds in them.", state->step_seconds);
  return text;
}

}  // namespace shoal::serve
