// One connection: requests come in one after the other, each is answered before the next is read.
//
//   idle --first byte--> head --> body --> answer --> idle ...
//                          \________\_________\-----> closing (what is still sent is read and dropped) --> gone
//
// All members belong to the network's thread, but for the Answer, which any thread may use. Every state but `answer`
// has a deadline, that of a write included; HttpServer calls check_deadline() four times a second.
#pragma once

#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/string_body.hpp>
#include <chrono>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "serve/api_error.h"
#include "serve/http.h"
#include "serve/task_queue.h"

namespace shoal::serve {

namespace asio = boost::asio;
namespace http = boost::beast::http;
using Tcp = asio::ip::tcp;

class Connection;

/// What the connections of a server share.
struct Shared {
  asio::io_context io{1};
  HttpLimits limits;
  Handler& handler;
  size_t bodies_bytes = 0;  // of requests that are being read or answered
  bool draining = false;
  std::unique_ptr<TaskQueue> workers;
  std::function<void(Connection*)> gone;
  std::function<void(int)> count_busy;  // +1, -1: connections with a request
};

/// The answer to one request: what is written waits here until the network's thread sends it.
class Answer final : public Exchange {
 public:
  Answer(std::weak_ptr<Connection>, Shared&, bool chunked, bool keep_alive, bool head_only);
  void reply(const Reply&) override;
  void begin_stream(const std::string& content_type) override;
  void write(std::string_view part) override;
  void end_stream() override;
  bool streams() const override;
  void when_client_leaves(std::function<void()> gone) override;
  void note(const char* name, nlohmann::ordered_json value) override;

  /// Of the network's thread.
  struct Pending {
    std::string bytes;
    bool ended;
  };
  Pending take();
  bool overflows() const;  // the client has left too much unread
  void client_left();  // tells who wants to know
  void close();        // nothing more is taken
  int status() const;
  nlohmann::ordered_json notes() const;
  bool keep_alive() const { return keep_alive_; }

 private:
  void head(int status, const std::string& content_type, const std::string& more);
  void wake();

  const std::weak_ptr<Connection> connection_;
  Shared& shared_;
  const bool chunked_, keep_alive_, head_only_;
  mutable std::mutex mutex_;
  std::string pending_;
  std::function<void()> gone_;
  nlohmann::ordered_json notes_ = nlohmann::ordered_json::object();
  int status_ = 0;
  bool begun_ = false, ended_ = false, left_ = false, overflow_ = false, woken_ = false;
};

class Connection : public std::enable_shared_from_this<Connection> {
 public:
  Connection(Tcp::socket, Shared&);
  ~Connection();
  void start();
  /// For one too many: says so and closes.
  void refuse(const ApiError&);
  void check_deadline(std::chrono::steady_clock::time_point now);
  void close();
  void flush();  // sends what waits in the answer

 private:
  enum class State : uint8_t { kIdle, kHead, kBody, kAnswer, kClosing, kGone };
  using Error = boost::system::error_code;
  using Clock = std::chrono::steady_clock;
  static bool busy(State state) { return state != State::kIdle && state != State::kGone; }
  void enter(State, double seconds);  // 0: no deadline
  void wait_for_request();
  void read_head();
  void read_body();
  void head_is_read();
  void body_is_read();
  bool failed(const Error&);  // of reading; answers it where there is something to say
  void make_request();
  void watch();  // whether the client leaves
  void say(const Reply&);  // of the connection itself, and then closes
  void begin_answer(bool keep_alive);
  void sent(const Error&);
  void answered(bool client_left);
  void end_request();
  void linger();

  Tcp::socket socket_;
  Shared& shared_;
  std::string address_;
  boost::beast::flat_buffer buffer_;
  std::optional<http::request_parser<http::string_body>> parser_;
  HttpRequest request_;
  size_t reserved_ = 0;  // of Shared::bodies_bytes
  std::shared_ptr<Answer> answer_;
  std::string sending_;
  State state_ = State::kIdle;
  std::optional<Clock::time_point> deadline_, write_deadline_;
  Clock::time_point begin_;
  uint64_t sent_bytes_ = 0;
  bool timed_out_ = false, writing_ = false, client_left_ = false;
  std::string dropped_;
};

}  // namespace shoal::serve
