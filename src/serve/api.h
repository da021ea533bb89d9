// What is served at which path, for whom: the OpenAI API, and what an operator needs. docs/serving.md.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "serve/access.h"
#include "serve/api_error.h"
#include "serve/asks.h"
#include "serve/generation.h"
#include "serve/http.h"
#include "serve/metrics.h"
#include "serve/model.h"
#include "serve/task_queue.h"

namespace shoal::serve {

struct ApiOptions {
  std::vector<std::string> keys;
  int64_t requests_per_minute = 0;  // of each key, or address where there are no keys; 0: any number
  int64_t queue = 256;              // answers that may wait for the engine
};

class Api final : public Handler {
 public:
  /// A line of the access log, as JSON, whenever a request has ended. `reload`: loads the model anew, on a thread of
  /// the API; null: it cannot be.
  Api(const ApiOptions&, std::function<void(const std::string& line)> log,
      std::function<std::shared_ptr<Model>()> reload = {});
  /// REQUIRES: the server is gone.
  ~Api() override;

  /// From now on requests go to this one; those under way stay with theirs, which is ended when the last is done.
  void set_model(std::shared_ptr<Model>);
  /// Loads the model anew; `done` gets "" or what is wrong, on another thread. Nothing changes where it fails, or
  /// another is under way.
  void reload(std::function<void(const std::string& sentence)> done);
  /// No new requests: 503.
  void drain();
  /// Gives up all answers that are under way; their clients are told.
  void cancel_all();

  std::optional<Reply> refuse(const HttpRequest& head) override;
  void handle(HttpRequest, std::shared_ptr<Exchange>) override;
  void ended(const EndedRequest&) override;
  void connected(int open) override { connections_ = open; }

 private:
  using Call = void (Api::*)(const HttpRequest&, const std::string& client, const std::shared_ptr<Exchange>&);
  struct Route {
    const char* method;
    const char* path;
    Call call;
    bool open;     // without a key
    bool limited;  // counts for the rate
  };
  static const std::vector<Route>& routes();
  const Route& route(const HttpRequest&) const;

  void page(const HttpRequest&, const std::string&, const std::shared_ptr<Exchange>&);
  void health(const HttpRequest&, const std::string&, const std::shared_ptr<Exchange>&);
  void metrics(const HttpRequest&, const std::string&, const std::shared_ptr<Exchange>&);
  void models(const HttpRequest&, const std::string&, const std::shared_ptr<Exchange>&);
  void completions(const HttpRequest&, const std::string&, const std::shared_ptr<Exchange>&);
  void chat(const HttpRequest&, const std::string&, const std::shared_ptr<Exchange>&);
  void embeddings(const HttpRequest&, const std::string&, const std::shared_ptr<Exchange>&);
  void tokenize(const HttpRequest&, const std::string&, const std::shared_ptr<Exchange>&);
  void detokenize(const HttpRequest&, const std::string&, const std::shared_ptr<Exchange>&);
  void admin_reload(const HttpRequest&, const std::string&, const std::shared_ptr<Exchange>&);

  /// Throws ApiError 503 where there is none, or it is not ready.
  std::shared_ptr<Model> model() const;
  /// The same, for a request with this `model` field.
  std::shared_ptr<Model> model(const std::string& name) const;
  void check_queue(const Model&, int64_t answers) const;
  /// What completions and chats have alike. `work` has the prompts, and what is shown before answers.
  void generate(const std::shared_ptr<Model>&, decltype(&completion_format), Ask, Generation::Work,
                const std::shared_ptr<Exchange>&);
  void drop_retired();

  Access access_;
  const int64_t queue_;
  const std::function<void(const std::string&)> log_;
  const std::function<std::shared_ptr<Model>()> load_;
  std::atomic<int> connections_{0};
  Metrics metrics_;

  mutable std::mutex mutex_;
  std::shared_ptr<Model> model_;
  std::vector<std::shared_ptr<Model>> retired_;  // that some request may still use
  std::vector<std::weak_ptr<Generation>> generations_;
  bool draining_ = false, reloading_ = false;

  // Last, so that they end first. Embeddings wait for the engine, and a reload for the disk: not on a worker's time.
  TaskQueue embedding_, loading_;
};

}  // namespace shoal::serve
