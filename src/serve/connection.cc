#include "serve/connection.h"

#include <sys/socket.h>

#include <boost/asio/buffer.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/http/read.hpp>
#include <utility>

#include "base/fault.h"
#include "base/text.h"

namespace shoal::serve {
namespace {

constexpr double kLingerSeconds = 3;  // in which a refused client may read why

std::chrono::steady_clock::duration duration(double seconds) {
  return std::chrono::duration_cast<std::chrono::steady_clock::duration>(std::chrono::duration<double>(seconds));
}

std::string text(boost::beast::string_view view) { return {view.data(), view.size()}; }

ApiError late(const char* what, double seconds) {
  return ApiError(408, cat(what, " - got only a part within ", seconds, " s, want all of it by then"), "",
                  "request_timeout");
}

}  // namespace

Connection::Connection(Tcp::socket socket, Shared& shared) : socket_(std::move(socket)), shared_(shared) {
  Error ignored;
  const auto endpoint = socket_.remote_endpoint(ignored);
  if (!ignored) address_ = endpoint.address().to_string(ignored);
  socket_.set_option(Tcp::no_delay(true), ignored);
  socket_.non_blocking(true, ignored);
}

Connection::~Connection() { end_request(); }

void Connection::start() { wait_for_request(); }

void Connection::refuse(const ApiError& error) {
  begin_answer(false);
  say(error.reply());
}

void Connection::enter(State state, double seconds) {
  if (busy(state) != busy(state_)) shared_.count_busy(busy(state) ? 1 : -1);
  state_ = state;
  if (seconds > 0)
    deadline_ = Clock::now() + duration(seconds);
  else
    deadline_.reset();
}

void Connection::check_deadline(Clock::time_point now) {
  if (write_deadline_ && now > *write_deadline_) {
    if (answer_) answer_->client_left();
    return close();
  }
  if (!deadline_ || now < *deadline_) return;
  if (state_ == State::kIdle || state_ == State::kClosing) return close();
  timed_out_ = true;  // what reads is told by cancel()
  deadline_.reset();
  Error ignored;
  socket_.cancel(ignored);
}

void Connection::close() {
  if (state_ == State::kGone) return;
  const auto self = shared_from_this();  // `gone` may let go of the last but this
  enter(State::kGone, 0);
  write_deadline_.reset();
  if (answer_) answered(true);
  Error ignored;
  socket_.close(ignored);
  shared_.gone(this);
}

void Connection::wait_for_request() {
  parser_.emplace();
  parser_->header_limit(static_cast<uint32_t>(shared_.limits.header_bytes));
  parser_->body_limit(shared_.limits.body_bytes);
  if (buffer_.size() > 0) return read_head();
  enter(State::kIdle, shared_.limits.idle_seconds);
  socket_.async_wait(Tcp::socket::wait_read, [self = shared_from_this()](const Error& error) {
    if (self->state_ != State::kIdle) return;
    if (error) return self->close();
    self->read_head();
  });
}

void Connection::read_head() {
  enter(State::kHead, shared_.limits.header_seconds);
  begin_ = Clock::now();
  http::async_read_header(socket_, buffer_, *parser_, [self = shared_from_this()](const Error& error, size_t) {
    if (self->state_ == State::kHead && !self->failed(error)) self->head_is_read();
  });
}

bool Connection::failed(const Error& error) {
  if (!error) return false;
  const bool late_one = std::exchange(timed_out_, false);
  const bool of_http = error.category() == http::make_error_code(http::error::end_of_stream).category();
  if (error == http::error::end_of_stream || (!late_one && !of_http)) {  // there is nobody, or was no request
    close();
    return true;
  }
  const bool head = state_ == State::kHead;
  make_request();
  begin_answer(false);
  if (late_one)
    say(late(head ? "head" : "body", head ? shared_.limits.header_seconds : shared_.limits.body_seconds).reply());
  else if (error == http::error::partial_message)
    say(ApiError(400, "connection - got its end within the request, want all of the request", "", "incomplete")
            .reply());
  else if (error == http::error::body_limit)
    say(ApiError(413, cat("body - got more than ", shared_.limits.body_bytes, " bytes, want at most so many"), "",
                 "body_too_large")
            .reply());
  else if (error == http::error::header_limit || error == http::error::buffer_overflow)
    say(ApiError(431, cat("head - got more than ", shared_.limits.header_bytes, " bytes, want at most so many"), "",
                 "head_too_large")
            .reply());
  else
    say(ApiError(400,
                 cat("request - got what is no HTTP/1.1 (", error.message(), "), want a request as RFC 9112 has it"),
                 "", "invalid_http")
            .reply());
  return true;
}

/// Of the head, as far as it was read.
void Connection::make_request() {
  request_ = {};
  request_.address = address_;
  const auto& head = parser_->get();
  request_.method = text(head.method_string());
  std::string target = text(head.target());
  // Absolute form, as to a proxy: "http://host/path".
  if (target.starts_with("http://")) {
    const size_t slash = target.find('/', 7);
    target = slash == std::string::npos ? "/" : target.substr(slash);
  }
  request_.path = target.substr(0, target.find('?'));
  request_.authorization = text(head[http::field::authorization]);
}

void Connection::head_is_read() {
  make_request();
  const auto length = parser_->content_length();
  const size_t wanted = length ? static_cast<size_t>(*length) : parser_->chunked() ? shared_.limits.body_bytes : 0;
  std::optional<Reply> refusal = shared_.handler.refuse(request_);
  if (!refusal && shared_.bodies_bytes + wanted > shared_.limits.bodies_bytes) {
    ApiError error(503, "server - got too many large requests at once; send it again in a moment", "", "unavailable");
    error.retry_after_seconds = 1;
    refusal = error.reply();
  }
  if (refusal) {
    // What has no body, or has brought it already, need not cost the connection.
    begin_answer(wanted == 0 && !parser_->chunked() && parser_->keep_alive());
    return say(*refusal);
  }
  reserved_ = wanted;
  shared_.bodies_bytes += wanted;
  if (text(parser_->get()[http::field::expect]) == "100-continue" && wanted > 0) {
    Error ignored;  // a short text fits the empty buffer of a socket
    socket_.write_some(asio::buffer(std::string_view("HTTP/1.1 100 Continue\r\n\r\n")), ignored);
  }
  read_body();
}

void Connection::read_body() {
  enter(State::kBody, shared_.limits.body_seconds);
  http::async_read(socket_, buffer_, *parser_, [self = shared_from_this()](const Error& error, size_t) {
    if (self->state_ == State::kBody && !self->failed(error)) self->body_is_read();
  });
}

void Connection::body_is_read() {
  request_.body = std::move(parser_->get().body());
  begin_answer(parser_->keep_alive());
  watch();
  const bool taken = shared_.workers->add([&handler = shared_.handler, request = request_, answer = answer_]() mutable {
    try {
      handler.handle(std::move(request), answer);
    } catch (...) {
      answer->reply(ApiError(500, cat("server - failed: ", describe_exception()), "", "internal_error").reply());
    }
  });
  request_.body = {};
  if (!taken) answer_->reply(ApiError(503, "server - got too many requests at once; send it again in a moment", "", "unavailable").reply());
}

void Connection::begin_answer(bool keep_alive) {
  const bool chunked = parser_ && parser_->is_header_done() && parser_->get().version() >= 11;
  const bool head_only = parser_ && parser_->is_header_done() && parser_->get().method() == http::verb::head;
  enter(State::kAnswer, 0);
  client_left_ = false;
  sent_bytes_ = 0;
  answer_ = std::make_shared<Answer>(weak_from_this(), shared_, chunked,
                                     keep_alive && (chunked || head_only) && !shared_.draining, head_only);
}

void Connection::say(const Reply& reply) {
  answer_->reply(reply);
  flush();
}

// Readable while an answer is made: the next request, which may wait, or the end of what the client sends.
void Connection::watch() {
  socket_.async_wait(Tcp::socket::wait_read, [self = shared_from_this(), answer = answer_](const Error& error) {
    if (error || self->answer_ != answer || self->state_ != State::kAnswer) return;
    char byte = 0;
    const ssize_t count = recv(self->socket_.native_handle(), &byte, 1, MSG_PEEK | MSG_DONTWAIT);
    if (count > 0 || (count < 0 && errno == EAGAIN)) return;
    self->client_left_ = true;
    answer->client_left();
  });
}

void Connection::flush() {
  if (!answer_ || state_ != State::kAnswer) return;
  if (answer_->overflows()) {  // also while a write waits for a client that reads nothing
    answer_->client_left();
    return close();
  }
  if (writing_) return;
  Answer::Pending pending = answer_->take();
  if (pending.bytes.empty()) {
    if (pending.ended) answered(client_left_);
    return;
  }
  sending_ = std::move(pending.bytes);
  sent_bytes_ += sending_.size();
  writing_ = true;
  write_deadline_ = Clock::now() + duration(shared_.limits.write_seconds);
  asio::async_write(socket_, asio::buffer(sending_),
                    [self = shared_from_this()](const Error& error, size_t) { self->sent(error); });
}

void Connection::sent(const Error& error) {
  writing_ = false;
  write_deadline_.reset();
  sending_ = {};
  if (state_ != State::kAnswer) return;
  if (error) {
    answer_->client_left();
    return close();
  }
  flush();
}

void Connection::answered(bool client_left) {
  client_left_ = client_left;
  const auto answer = answer_;
  end_request();
  if (state_ == State::kGone) return;
  Error ignored;
  socket_.cancel(ignored);  // the watch
  if (answer->keep_alive() && !client_left) return wait_for_request();  // as its head said, also in a drain
  linger();
}

void Connection::end_request() {
  shared_.bodies_bytes -= std::exchange(reserved_, 0);
  const auto answer = std::exchange(answer_, nullptr);
  if (!answer) return;
  EndedRequest ended;
  ended.method = request_.method;
  ended.path = request_.path;
  ended.address = address_;
  ended.status = answer->status() == 0 ? 499 : answer->status();
  ended.reply_bytes = sent_bytes_;
  ended.seconds = begin_ == Clock::time_point() ? 0 : std::chrono::duration<double>(Clock::now() - begin_).count();
  ended.client_left = client_left_;
  ended.notes = answer->notes();
  answer->client_left();
  answer->close();
  shared_.handler.ended(ended);
}

// To close with something unread would reset the connection, and with it the answer that the client has not read.
void Connection::linger() {
  if (state_ != State::kClosing) {
    enter(State::kClosing, kLingerSeconds);
    Error ignored;
    socket_.shutdown(Tcp::socket::shutdown_send, ignored);
    buffer_.clear();
    dropped_.resize(16 << 10);
  }
  socket_.async_read_some(asio::buffer(dropped_), [self = shared_from_this()](const Error& error, size_t) {
    if (self->state_ != State::kClosing) return;
    if (error) return self->close();
    self->linger();
  });
}

}  // namespace shoal::serve
