#include "serve/api.h"

#include <algorithm>
#include <cmath>
#include <ctime>
#include <utility>

#include "base/fault.h"
#include "base/text.h"
#include "serve/page.h"
#include "shoal/error.h"

namespace shoal::serve {
namespace {

constexpr size_t kWaitingEmbeddings = 64;
constexpr auto kLastStep = std::chrono::seconds(60);

ApiError unavailable(const std::string& message) {
  ApiError error(503, message, "", "unavailable");
  error.retry_after_seconds = 1;
  return error;
}

std::string now_text() {
  const std::time_t now = std::time(nullptr);
  std::tm parts{};
  gmtime_r(&now, &parts);
  char text[32];
  return {text, std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &parts)};
}

}  // namespace

Api::Api(const ApiOptions& options, std::function<void(const std::string&)> log,
         std::function<std::shared_ptr<Model>()> reload)
    : access_(options.keys, options.requests_per_minute),
      queue_(options.queue),
      log_(std::move(log)),
      load_(std::move(reload)),
      embedding_(1, kWaitingEmbeddings),
      loading_(1, 8) {}

Api::~Api() {
  cancel_all();
  loading_.stop();
  embedding_.stop();
  // Answers that are given up still have their model until its engine lets go of them, after its current step. Should
  // it never do so, the model is left alone: ended by its own thread it would wait for itself.
  auto models = std::move(retired_);
  if (model_) models.push_back(std::move(model_));
  const auto end = std::chrono::steady_clock::now() + kLastStep;
  for (auto& model : models) {
    while (model.use_count() > 1 && std::chrono::steady_clock::now() < end)
      std::this_thread::sleep_for(std::chrono::milliseconds(2));
    if (model.use_count() > 1) new std::shared_ptr<Model>(std::move(model));
  }
}

const std::vector<Api::Route>& Api::routes() {
  static const std::vector<Route> table = {
      // method, path, call, without a key, counts for the rate
      {"GET", "/", &Api::page, true, false},
      {"GET", "/health", &Api::health, true, false},
      {"GET", "/metrics", &Api::metrics, false, false},
      {"GET", "/v1/models", &Api::models, false, false},
      {"POST", "/v1/completions", &Api::completions, false, true},
      {"POST", "/v1/chat/completions", &Api::chat, false, true},
      {"POST", "/v1/embeddings", &Api::embeddings, false, true},
      {"POST", "/tokenize", &Api::tokenize, false, true},
      {"POST", "/detokenize", &Api::detokenize, false, true},
      {"POST", "/admin/reload", &Api::admin_reload, false, false},
  };
  return table;
}

const Api::Route& Api::route(const HttpRequest& request) const {
  const std::string method = request.method == "HEAD" ? "GET" : request.method;
  const Route* same_path = nullptr;
  for (const Route& route : routes()) {
    if (request.path != route.path) continue;
    if (method == route.method) return route;
    same_path = &route;
  }
  // /v1/models/NAME, where the name may hold slashes.
  if (request.path.starts_with("/v1/models/") && method == "GET")
    return *std::find_if(routes().begin(), routes().end(), [](const Route& r) { return r.call == &Api::models; });
  if (same_path)
    throw ApiError(405, cat(request.path, " - method: got ", described(Json(request.method)), ", want ", same_path->method), "",
                   "method_not_allowed");
  throw ApiError(404, cat("path - got ", described(Json(request.path)), ", want one that docs/serving.md names"), "",
                 "not_found");
}

std::optional<Reply> Api::refuse(const HttpRequest& head) {
  try {
    const Route& wanted = route(head);
    if (!wanted.open) {
      const auto client = access_.client(head.authorization, head.address);
      if (!client)
        throw ApiError(401,
                       cat("authorization - got ", head.authorization.empty() ? "nothing" : "a key that is none of ours",
                           ", want the header Authorization: Bearer KEY"), "", "invalid_api_key");
      if (wanted.call == &Api::admin_reload && !access_.has_keys())
        throw ApiError(403, "/admin/reload - keys: got a server without any, want one started with --api-key-file", "",
                       "no_keys");
      if (wanted.limited) {
        if (const double wait = access_.wait_seconds(*client); wait > 0) {
          ApiError error(429, "rate - got more requests than this client may send in a minute; send it again later", "",
                         "rate_limit_exceeded");
          error.retry_after_seconds = static_cast<int>(std::ceil(wait));
          throw error;
        }
      }
    }
    const std::lock_guard lock(mutex_);
    if (draining_ && wanted.call != &Api::health && wanted.call != &Api::metrics)
      throw unavailable("server - it is going down: send the request to another");
    return {};
  } catch (const ApiError& error) {
    return error.reply();
  }
}

void Api::handle(HttpRequest request, std::shared_ptr<Exchange> exchange) {
  ApiError failure(500, "");
  try {
    const std::string client = access_.client(request.authorization, request.address).value_or("");
    exchange->note("client", client);
    return (this->*route(request).call)(request, client, exchange);
  } catch (const ApiError& error) {
    failure = error;
  } catch (const InputError& error) {
    failure = ApiError(400, error.what(), "", "invalid_value");
  } catch (const JobError& error) {
    failure = ApiError(503, error.what(), "", "unavailable");
  } catch (...) {
    failure = ApiError(500, cat("server - failed: ", describe_exception()), "", "internal_error");
  }
  exchange->note("error", failure.what());
  exchange->reply(failure.reply());
}

void Api::ended(const EndedRequest& request) {
  // Paths that are not ours would make as many rows as there are guesses.
  const auto& table = routes();
  const bool ours = std::any_of(table.begin(), table.end(), [&](const Route& r) { return request.path == r.path; });
  metrics_.request(ours ? request.path : "other", request.status);
  drop_retired();
  if (!log_) return;
  Json line = {{"time", now_text()},       {"address", request.address}, {"method", request.method},
               {"path", request.path},     {"status", request.status},   {"bytes", request.reply_bytes},
               {"seconds", std::round(request.seconds * 1e6) / 1e6}};
  if (request.client_left) line["client_left"] = true;
  for (const auto& [name, value] : request.notes.items()) line[name] = value;
  log_(dump(line));
}

void Api::set_model(std::shared_ptr<Model> model) {
  {
    const std::lock_guard lock(mutex_);
    if (model_) retired_.push_back(std::move(model_));
    model_ = std::move(model);
  }
  drop_retired();
}

// A model may end only here: the last one to let go of it may be its own engine's thread, which cannot end itself.
void Api::drop_retired() {
  std::vector<std::shared_ptr<Model>> ending;
  {
    const std::lock_guard lock(mutex_);
    std::erase_if(generations_, [](const auto& weak) { return weak.expired(); });
    for (auto& model : retired_)
      if (model.use_count() == 1) ending.push_back(std::move(model));
    std::erase(retired_, nullptr);
  }
  if (ending.empty()) return;
  // Ending joins threads, for which the network's thread must not wait.
  auto shared = std::make_shared<std::vector<std::shared_ptr<Model>>>(std::move(ending));
  if (!loading_.add([shared] { shared->clear(); })) {
    const std::lock_guard lock(mutex_);
    retired_.insert(retired_.end(), shared->begin(), shared->end());
    shared->clear();
  }
}

void Api::reload(std::function<void(const std::string&)> done) {
  {
    const std::lock_guard lock(mutex_);
    if (reloading_ || !load_ || !model_) return done("reload - got one while another or the first load is under way; wait for it");
    reloading_ = true;
  }
  loading_.add([this, done = std::move(done)] {
    std::string sentence;
    try {
      set_model(load_());
    } catch (...) {
      sentence = describe_exception();
    }
    metrics_.reload(sentence.empty());
    {
      const std::lock_guard lock(mutex_);
      reloading_ = false;
    }
    done(sentence);
  });
}

void Api::drain() {
  const std::lock_guard lock(mutex_);
  draining_ = true;
}

void Api::cancel_all() {
  std::vector<std::weak_ptr<Generation>> all;
  {
    const std::lock_guard lock(mutex_);
    all = generations_;
  }
  for (const auto& weak : all)
    if (const auto generation = weak.lock()) generation->cancel(going_down());
}

std::shared_ptr<Model> Api::model() const {
  const std::lock_guard lock(mutex_);
  if (!model_) throw unavailable("model - it is being loaded; send the request again in a moment");
  return model_;
}

std::shared_ptr<Model> Api::model(const std::string& name) const {
  std::shared_ptr<Model> found = model();
  if (!name.empty() && name != found->facts().name)
    throw ApiError(404, cat("model - got ", described(Json(name)), ", want ", found->facts().name), "model",
                   "model_not_found");
  return found;
}

void Api::check_queue(const Model& model, int64_t answers) const {
  const infer::EngineState state = model.state();
  if (state.queued == 0 || state.queued + answers <= queue_) return;
  ApiError error(429, cat("queue - got ", state.queued, " answers that wait, want at most ", queue_,
                          "; send the request again later"), "", "queue_full");
  // As long as the queue took so far for its length, had all steps been equal; at least a second.
  error.retry_after_seconds = 1 + static_cast<int>(state.queued / 64);
  throw error;
}

}  // namespace shoal::serve
