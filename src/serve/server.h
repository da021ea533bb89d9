// The server as one object: listens, loads, serves, reloads, drains.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <string>

#include "serve/api.h"
#include "serve/http.h"
#include "serve/model.h"

namespace shoal::serve {

struct ServerOptions {
  std::string address = "127.0.0.1";
  int port = 8080;  // 0: a free one
  HttpLimits http;
  ApiOptions api;
  double drain_seconds = 30;  // for answers that are under way when the server is to end
};

class Server {
 public:
  using Load = std::function<std::shared_ptr<Model>()>;
  using Sink = std::function<void(const std::string& line)>;  // any thread, one line without its end
  /// Listens; until a model is loaded requests get 503. Throws InputError where the address cannot be had.
  Server(const ServerOptions&, Load, Sink log);
  ~Server();

  /// Loads the model and serves it. Throws what `load` throws.
  void start();
  /// Any thread; `done` gets "" or what is wrong, later.
  void reload(std::function<void(const std::string&)> done) { api_.reload(std::move(done)); }
  /// Takes no more, and waits for what is under way, drain_seconds at most; then gives it up. Whether all was
  /// answered.
  bool drain();
  /// Ends a drain early. Any thread.
  void hurry() { hurry_ = true; }
  int port() const { return http_->port(); }
  const ModelFacts& facts() const { return facts_; }

 private:
  const double drain_seconds_;
  const Load load_;
  Api api_;
  std::unique_ptr<HttpServer> http_;
  ModelFacts facts_;
  std::atomic<bool> hurry_{false};
};

}  // namespace shoal::serve
