#include "serve/server.h"

#include <chrono>
#include <utility>

namespace shoal::serve {
namespace {

constexpr double kGoodbyeSeconds = 5;  // in which the last replies may be read

}  // namespace

Server::Server(const ServerOptions& options, Load load, Sink log)
    : drain_seconds_(options.drain_seconds),
      load_(std::move(load)),
      api_(options.api, std::move(log), load_),
      http_(std::make_unique<HttpServer>(options.address, options.port, options.http, api_)) {}

Server::~Server() {
  api_.cancel_all();
  http_.reset();
}

void Server::start() {
  auto model = load_();
  facts_ = model->facts();
  api_.set_model(std::move(model));
}

bool Server::drain() {
  api_.drain();
  http_->drain();
  using Clock = std::chrono::steady_clock;
  const auto end = Clock::now() + std::chrono::duration<double>(drain_seconds_);
  constexpr double kSlice = 0.1;
  bool quiet = false;
  while (!(quiet = http_->wait_until_quiet(kSlice)) && !hurry_ && Clock::now() < end) continue;
  if (quiet) return true;
  api_.cancel_all();
  http_->wait_until_quiet(kGoodbyeSeconds);
  return false;
}

}  // namespace shoal::serve
