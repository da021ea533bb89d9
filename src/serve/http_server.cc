#include <boost/asio/ip/address.hpp>
#include <boost/asio/post.hpp>
#include <condition_variable>
#include <map>
#include <thread>
#include <utility>

#include "base/text.h"
#include "serve/connection.h"
#include "shoal/error.h"

namespace shoal::serve {
namespace {

using Error = boost::system::error_code;
constexpr auto kTick = std::chrono::milliseconds(250);
constexpr size_t kRefusing = 64;  // connections beyond the limit that are told so; more are closed at once

}  // namespace

struct HttpServer::Impl {
  Impl(const std::string& address, int port, const HttpLimits& limits, Handler& handler);
  ~Impl();
  void accept();
  void tick();
  void take(Tcp::socket);

  Shared shared;
  Tcp::acceptor acceptor;
  asio::steady_timer timer, retry;
  int port = 0;
  std::map<Connection*, std::shared_ptr<Connection>> connections;  // of the network's thread
  std::mutex mutex;
  std::condition_variable changed;
  int busy = 0;
  std::thread thread;
};

HttpServer::Impl::Impl(const std::string& address, int wanted, const HttpLimits& limits, Handler& handler)
    : shared{.limits = limits, .handler = handler}, acceptor(shared.io), timer(shared.io), retry(shared.io) {
  const auto fail = [&](const Error& error) {
    throw InputError(cat("--address ", address, " --port ", wanted, " - cannot be listened at: ", error.message(),
                         "; take another"));
  };
  Error error;
  const Tcp::endpoint endpoint(asio::ip::make_address(address, error), static_cast<uint16_t>(wanted));
  if (error) throw InputError(cat("--address - got ", address, ", want an IP address, as 127.0.0.1 or ::"));
  if (acceptor.open(endpoint.protocol(), error)) fail(error);
  if (acceptor.set_option(Tcp::acceptor::reuse_address(true), error)) fail(error);
  if (acceptor.bind(endpoint, error)) fail(error);
  if (acceptor.listen(1024, error)) fail(error);
  port = acceptor.local_endpoint().port();
  // A connection has one request at a time, so that there are never more tasks than connections.
  shared.workers = std::make_unique<TaskQueue>(limits.workers, static_cast<size_t>(limits.connections) + kRefusing);
  shared.gone = [this](Connection* connection) {
    connections.erase(connection);
    shared.handler.connected(static_cast<int>(connections.size()));
  };
  shared.count_busy = [this](int more) {
    const std::lock_guard lock(mutex);
    busy += more;
    changed.notify_all();
  };
  accept();
  tick();
  thread = std::thread([this] { shared.io.run(); });
}

HttpServer::Impl::~Impl() {
  asio::post(shared.io, [this] {
    for (const auto& all = std::map(connections); const auto& [key, connection] : all) connection->close();
    shared.io.stop();
  });
  thread.join();
  shared.workers.reset();  // their answers are closed: what is made now goes nowhere
}

void HttpServer::Impl::accept() {
  acceptor.async_accept([this](const Error& error, Tcp::socket socket) {
    if (error == asio::error::operation_aborted || !acceptor.is_open()) return;
    if (!error) {
      take(std::move(socket));
      return accept();
    }
    // Too many open files, most likely: some will be closed.
    retry.expires_after(kTick);
    retry.async_wait([this](const Error& cancelled) {
      if (!cancelled && acceptor.is_open()) accept();
    });
  });
}

void HttpServer::Impl::take(Tcp::socket socket) {
  const auto most = static_cast<size_t>(shared.limits.connections);
  if (connections.size() >= most + kRefusing) return;  // closes the socket
  const auto connection = std::make_shared<Connection>(std::move(socket), shared);
  connections[connection.get()] = connection;
  shared.handler.connected(static_cast<int>(connections.size()));
  if (connections.size() <= most) return connection->start();
  ApiError error(503, cat("server - got more than ", most, " connections, want at most so many; try again later"), "",
                 "too_many_connections");
  error.retry_after_seconds = 1;
  connection->refuse(error);
}

void HttpServer::Impl::tick() {
  timer.expires_after(kTick);
  timer.async_wait([this](const Error& cancelled) {
    if (cancelled) return;
    const auto now = std::chrono::steady_clock::now();
    for (const auto& all = std::map(connections); const auto& [key, connection] : all)
      connection->check_deadline(now);
    tick();
  });
}

HttpServer::HttpServer(const std::string& address, int port, const HttpLimits& limits, Handler& handler)
    : impl_(std::make_unique<Impl>(address, port, limits, handler)) {}

HttpServer::~HttpServer() = default;

int HttpServer::port() const { return impl_->port; }

void HttpServer::drain() {
  asio::post(impl_->shared.io, [impl = impl_.get()] {
    Error ignored;
    impl->acceptor.close(ignored);
    impl->shared.draining = true;
  });
}

bool HttpServer::wait_until_quiet(double seconds) {
  std::unique_lock lock(impl_->mutex);
  return impl_->changed.wait_for(lock, std::chrono::duration<double>(seconds), [&] { return impl_->busy == 0; });
}

}  // namespace shoal::serve
