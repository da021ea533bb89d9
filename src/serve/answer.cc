// The answer to a request, between whoever makes it and the network's thread that sends it.
#include <array>
#include <cstdio>
#include <utility>

#include "base/text.h"
#include "serve/connection.h"

namespace shoal::serve {
namespace {

const char* reason(int status) {
  switch (status) {
    case 200: return "OK";
    case 400: return "Bad Request";
    case 401: return "Unauthorized";
    case 403: return "Forbidden";
    case 404: return "Not Found";
    case 405: return "Method Not Allowed";
    case 408: return "Request Timeout";
    case 409: return "Conflict";
    case 413: return "Content Too Large";
    case 429: return "Too Many Requests";
    case 431: return "Request Header Fields Too Large";
    case 499: return "Client Closed Request";
    case 503: return "Service Unavailable";
    default: return "Internal Server Error";
  }
}

}  // namespace

Answer::Answer(std::weak_ptr<Connection> connection, Shared& shared, bool chunked, bool keep_alive,
               bool head_only)
    : connection_(std::move(connection)),
      shared_(shared),
      chunked_(chunked),
      keep_alive_(keep_alive),
      head_only_(head_only) {}

void Answer::head(int status, const std::string& content_type, const std::string& more) {
  begun_ = true;
  status_ = status;
  pending_ = cat("HTTP/1.1 ", status, " ", reason(status), "\r\nServer: shoal\r\nContent-Type: ", content_type, "\r\n",
                 more, "Connection: ", keep_alive_ ? "keep-alive" : "close", "\r\n\r\n");
}

void Answer::reply(const Reply& reply) {
  const std::lock_guard lock(mutex_);
  if (begun_ || ended_) return;
  std::string more = cat("Content-Length: ", reply.body.size(), "\r\n");
  if (reply.retry_after_seconds > 0) more += cat("Retry-After: ", reply.retry_after_seconds, "\r\n");
  if (reply.status == 401) more += "WWW-Authenticate: Bearer\r\n";
  // The page shows what people and models wrote: it may run its own script and talk to this server, nothing else.
  if (reply.content_type.starts_with("text/html"))
    more += "Content-Security-Policy: default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "
            "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'\r\n";
  more += "X-Content-Type-Options: nosniff\r\n";
  head(reply.status, reply.content_type, more);
  if (!head_only_) pending_ += reply.body;
  ended_ = true;
  wake();
}

void Answer::begin_stream(const std::string& content_type) {
  const std::lock_guard lock(mutex_);
  if (begun_ || ended_) return;
  head(200, content_type,
       cat("Cache-Control: no-cache\r\nX-Accel-Buffering: no\r\n", chunked_ ? "Transfer-Encoding: chunked\r\n" : ""));
  wake();
}

void Answer::write(std::string_view part) {
  const std::lock_guard lock(mutex_);
  if (!begun_ || ended_ || overflow_ || part.empty()) return;
  if (pending_.size() + part.size() > shared_.limits.stream_bytes) {
    overflow_ = true;
    pending_.clear();
    woken_ = false;  // whoever was woken before may be waiting for the client
  } else if (chunked_) {
    std::array<char, 24> size{};
    std::snprintf(size.data(), size.size(), "%zx\r\n", part.size());
    pending_.append(size.data()).append(part).append("\r\n");
  } else {
    pending_.append(part);
  }
  wake();
}

void Answer::end_stream() {
  const std::lock_guard lock(mutex_);
  if (!begun_ || ended_) return;
  ended_ = true;
  if (chunked_ && !overflow_) pending_ += "0\r\n\r\n";
  wake();
}

bool Answer::streams() const {
  const std::lock_guard lock(mutex_);
  return begun_;
}

void Answer::when_client_leaves(std::function<void()> gone) {
  {
    const std::lock_guard lock(mutex_);
    if (ended_) return;
    if (!left_) {
      gone_ = std::move(gone);
      return;
    }
  }
  gone();
}

void Answer::note(const char* name, nlohmann::ordered_json value) {
  const std::lock_guard lock(mutex_);
  notes_[name] = std::move(value);
}

void Answer::wake() {
  if (std::exchange(woken_, true)) return;
  asio::post(shared_.io, [connection = connection_] {
    if (const auto alive = connection.lock()) alive->flush();
  });
}

Answer::Pending Answer::take() {
  const std::lock_guard lock(mutex_);
  woken_ = false;
  return {std::exchange(pending_, {}), ended_};
}

bool Answer::overflows() const {
  const std::lock_guard lock(mutex_);
  return overflow_;
}

void Answer::client_left() {
  std::function<void()> gone;
  {
    const std::lock_guard lock(mutex_);
    if (std::exchange(left_, true) || ended_) return;
    gone = std::exchange(gone_, {});
  }
  if (gone) gone();
}

void Answer::close() {
  const std::lock_guard lock(mutex_);
  ended_ = true;
  pending_ = {};
  gone_ = {};
}

int Answer::status() const {
  const std::lock_guard lock(mutex_);
  return status_;
}

nlohmann::ordered_json Answer::notes() const {
  const std::lock_guard lock(mutex_);
  return notes_;
}

}  // namespace shoal::serve
