// A server with a fake model, on a free port of this machine.
#pragma once

#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "serve/server.h"
#include "serve/client.h"
#include "serve/fake_model.h"

namespace shoal::serve {

struct Served {
  explicit Served(ServerOptions options = {}, std::chrono::microseconds step = {}, size_t at_once = 8) {
    options.port = 0;
    server = std::make_unique<Server>(
        options,
        [this, step, at_once]() -> std::shared_ptr<Model> {
          if (fails_to_load) throw InputError("model.gguf - got nothing, want a model");
          auto made = std::make_shared<FakeModel>("fake", step, at_once);
          model = made.get();
          ++loads;
          return made;
        },
        [this](const std::string& line) {
          const std::lock_guard lock(mutex);
          log.push_back(Json::parse(line));
        });
    server->start();
  }
  int port() const { return server->port(); }
  /// The log when it has so many lines.
  std::vector<Json> lines(size_t count) {
    wait([&] {
      const std::lock_guard lock(mutex);
      return log.size() >= count;
    });
    const std::lock_guard lock(mutex);
    return log;
  }
  static bool wait(const std::function<bool()>& condition) {
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(10);
    while (!condition()) {
      if (std::chrono::steady_clock::now() > end) return false;
      std::this_thread::sleep_for(std::chrono::milliseconds(2));
    }
    return true;
  }

  std::mutex mutex;
  std::vector<Json> log;
  std::atomic<FakeModel*> model{nullptr};
  std::atomic<int> loads{0};
  std::atomic<bool> fails_to_load{false};
  std::unique_ptr<Server> server;  // ends first
};

}  // namespace shoal::serve
