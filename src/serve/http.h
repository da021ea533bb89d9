// HTTP/1.1 (RFC 9112) for one handler: connections with their limits and timeouts, requests in, replies or
// streams out. Nothing here knows what is served. docs/serving.md has the limits.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>

namespace shoal::serve {

struct HttpRequest {
  std::string method;         // "POST"
  std::string path;           // "/v1/models", without the query
  std::string authorization;  // the header as it came; "": none
  std::string address;        // of the client, without port
  std::string body;
};

struct Reply {
  int status = 200;
  std::string content_type = "application/json";
  std::string body;
  int retry_after_seconds = 0;  // 0: no such header
};

/// The answer to one request. Any thread; calls after the end do nothing. Nothing blocks: what the client has
/// not read yet waits in a buffer, and a client that leaves more than HttpLimits::stream_bytes unread is cut off.
class Exchange {
 public:
  virtual ~Exchange() = default;
  /// The whole answer. Without effect once a stream has begun.
  virtual void reply(const Reply&) = 0;
  /// The head of a stream; then its parts.
  virtual void begin_stream(const std::string& content_type) = 0;
  virtual void write(std::string_view part) = 0;
  virtual void end_stream() = 0;
  virtual bool streams() const = 0;
  /// `gone` is called once when the client has closed its side before the end, at once if it has already; it may
  /// still read. Not called after the end.
  virtual void when_client_leaves(std::function<void()> gone) = 0;
  /// For the access log.
  virtual void note(const char* name, nlohmann::ordered_json value) = 0;
};

/// What became of a request, for the log.
struct EndedRequest {
  std::string method, path, address;
  int status = 0;
  uint64_t reply_bytes = 0;
  double seconds = 0;
  bool client_left = false;
  nlohmann::ordered_json notes;
};

class Handler {
 public:
  virtual ~Handler() = default;
  /// The head is known, the body not yet read: a reply here refuses it. On the network's thread: must be quick.
  virtual std::optional<Reply> refuse(const HttpRequest& head) = 0;
  /// On a worker's thread; may throw, which is answered with status 500.
  virtual void handle(HttpRequest, std::shared_ptr<Exchange>) = 0;
  /// On the network's thread.
  virtual void ended(const EndedRequest&) = 0;
  /// So many connections are open now. On the network's thread.
  virtual void connected(int open) = 0;
};

struct HttpLimits {
  size_t header_bytes = 16 << 10;
  size_t body_bytes = 4 << 20;
  size_t bodies_bytes = 256 << 20;  // of all requests at once
  size_t stream_bytes = 1 << 20;    // that a client may leave unread
  double header_seconds = 10, body_seconds = 30;
  double idle_seconds = 75;   // between two requests
  double write_seconds = 30;  // in which a client must read something
  int connections = 512;
  int workers = 2;  // threads that parse and tokenise
};

class HttpServer {
 public:
  /// Listens at once; port 0 takes a free one. Throws InputError where the address cannot be had. The handler
  /// must outlive it.
  HttpServer(const std::string& address, int port, const HttpLimits&, Handler&);
  /// Closes all connections. No handler is called afterwards.
  ~HttpServer();
  int port() const;
  /// From now on: no new connections, and each is closed after its next answer. Any thread.
  void drain();
  /// Waits until no connection has a request, so long at most; whether that is so.
  bool wait_until_quiet(double seconds);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace shoal::serve
