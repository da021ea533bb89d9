// A client that says exactly what a test wants said, and reads what comes.
#pragma once

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdlib>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

namespace shoal::serve {

struct Got {
  int status = 0;
  std::string head, body;
  nlohmann::ordered_json json() const { return nlohmann::ordered_json::parse(body, nullptr, false); }
  /// Of an error.
  std::string message() const {
    const auto parsed = json();
    return parsed.is_object() && parsed.contains("error") ? parsed["error"]["message"].get<std::string>()
                                                          : "(no error: " + body + ")";
  }
  std::string code() const {
    const auto parsed = json();
    return parsed.is_object() && parsed.contains("error") && parsed["error"]["code"].is_string()
               ? parsed["error"]["code"].get<std::string>()
               : "";
  }
  /// Of a stream: what each event holds.
  std::vector<std::string> events() const {
    std::vector<std::string> events;
    for (size_t at = 0; (at = body.find("data: ", at)) != std::string::npos;) {
      const size_t end = body.find("\n\n", at);
      events.push_back(body.substr(at + 6, end - at - 6));
      at = end;
    }
    return events;
  }
};

class Client {
 public:
  explicit Client(int port, int receive_bytes = 0) : socket_(socket(AF_INET, SOCK_STREAM, 0)) {
    if (receive_bytes > 0) setsockopt(socket_, SOL_SOCKET, SO_RCVBUF, &receive_bytes, sizeof receive_bytes);
    const timeval timeout{20, 0};
    setsockopt(socket_, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout);
    setsockopt(socket_, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof timeout);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<uint16_t>(port));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    connected_ = connect(socket_, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0;
  }
  ~Client() { close(); }
  Client(const Client&) = delete;
  bool connected() const { return connected_; }
  void close() {
    if (socket_ >= 0) ::close(std::exchange(socket_, -1));
  }
  void half_close() { shutdown(socket_, SHUT_WR); }

  /// Whether all of it was taken.
  bool send(std::string_view bytes) {
    while (!bytes.empty()) {
      const ssize_t count = ::send(socket_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (count <= 0) return false;
      bytes.remove_prefix(static_cast<size_t>(count));
    }
    return true;
  }
  bool request(const std::string& method, const std::string& path, const std::string& body = "",
               const std::string& headers = "") {
    return send(method + " " + path + " HTTP/1.1\r\nHost: here\r\n" + headers +
                (body.empty() && method == "GET" ? "" : "Content-Length: " + std::to_string(body.size()) + "\r\n") + "\r\n" + body);
  }

  /// Reads until the text ends with this; "" where it never does.
  std::string read_until(const std::string& end) {
    size_t at;
    while ((at = buffer_.find(end)) == std::string::npos)
      if (!more()) return "";
    std::string text = buffer_.substr(0, at + end.size());
    buffer_.erase(0, at + end.size());
    return text;
  }
  /// The next answer; status 0 where the connection ends before it does.
  Got read(bool head_only = false) {
    Got got;
    got.head = read_until("\r\n\r\n");
    if (got.head.size() < 12) return {};
    got.status = std::atoi(got.head.substr(9, 3).c_str());
    if (head_only) return got;
    const size_t length = got.head.find("Content-Length: ");
    if (length != std::string::npos) {
      const auto size = static_cast<size_t>(std::atoll(got.head.c_str() + length + 16));
      while (buffer_.size() < size)
        if (!more()) return {};
      got.body = buffer_.substr(0, size);
      buffer_.erase(0, size);
    } else if (got.head.find("Transfer-Encoding: chunked") != std::string::npos) {
      for (;;) {
        const std::string line = read_until("\r\n");
        if (line.empty()) return {};
        const size_t size = std::strtoull(line.c_str(), nullptr, 16) + 2;
        while (buffer_.size() < size)
          if (!more()) return {};
        if (size == 2) break;
        got.body += buffer_.substr(0, size - 2);
        buffer_.erase(0, size);
      }
      buffer_.erase(0, 2);
    } else {
      while (more()) continue;
      got.body = std::exchange(buffer_, "");
    }
    return got;
  }
  /// Whether nothing more comes: the server has closed.
  bool closed() {
    while (more()) continue;
    return errno != EAGAIN;
  }

 private:
  bool more() {
    char bytes[16384];
    errno = 0;
    const ssize_t count = recv(socket_, bytes, sizeof bytes, 0);
    if (count <= 0) return false;
    buffer_.append(bytes, static_cast<size_t>(count));
    return true;
  }

  int socket_;
  bool connected_ = false;
  std::string buffer_;
};

inline Got ask(int port, const std::string& method, const std::string& path, const std::string& body = "",
               const std::string& headers = "") {
  Client client(port);
  client.request(method, path, body, headers);
  return client.read(method == "HEAD");
}
inline Got post(int port, const std::string& path, const nlohmann::ordered_json& body, const std::string& headers = "") {
  return ask(port, "POST", path, body.dump(), headers);
}

}  // namespace shoal::serve
