// Requests broken at random, through all that reads them: the parser of HTTP, JSON, fields, asks.
//   fuzz_driver SECONDS SEED
// Each must be answered with JSON or with a closed connection, and the server must live. What was sent last is in
// fuzz_driver.last when it does not.
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <random>
#include <string>
#include <vector>

#include "serve/asks.h"
#include "serve/served.h"

namespace shoal::serve {
namespace {

const std::vector<std::string> kBodies = {
    R"({"prompt":["a","b\u00e9"],"n":2,"max_tokens":5,"temperature":0.5,"stop":["x","yz"],"logit_bias":{"3":-100},"seed":1})",
    R"({"prompt":[1,2,256],"echo":true,"logprobs":3,"stream":true,"stream_options":{"include_usage":true}})",
    R"({"messages":[{"role":"user","content":[{"type":"text","text":"a"}]}],"response_format":{"type":"json_schema","json_schema":{"name":"n","schema":{"a":[1,{"b":null}]}}}})",
    R"({"input":["a","b"],"encoding_format":"base64"})", R"({"text":"a","add_special":true})", R"({"tokens":[1,2,3]})"};
const std::vector<std::string> kPaths = {"/v1/completions", "/v1/chat/completions", "/v1/embeddings", "/tokenize", "/detokenize"};
const std::vector<std::string> kScraps = {"{", "}", "[", "]", "\"", ",", ":", "\\u", "\\ud800", "1e999", "-0", "null", "true", "18446744073709551616",
                                          "\r\n", "\r\n\r\n", "Content-Length: 99999999999999999999\r\n", "Transfer-Encoding: chunked\r\n",
                                          "Expect: 100-continue\r\n", "HTTP/1.0", "\xff", "\xc3", std::string(1, '\0'), "[[[[[[[[[[[[[[[[",
                                          "Connection: close\r\n", "\"prompt\":", "\"n\":", "ffffffffffffffff\r\n", "0\r\n\r\n", "%"};

class Mutations {
 public:
  explicit Mutations(unsigned seed) : random_(seed) {}
  size_t below(size_t count) { return random_() % count; }
  template <class List>
  const auto& one(const List& list) { return list[below(list.size())]; }
  std::string broken(std::string text) {
    for (size_t changes = below(5); changes > 0; --changes) {
      const size_t at = below(text.size() + 1);
      switch (below(5)) {
        case 0: text.insert(at, one(kScraps)); break;
        case 1: text.erase(at, below(8)); break;
        case 2: if (at < text.size()) text[at] = static_cast<char>(random_()); break;
        case 3: text.insert(at, text.substr(below(text.size() + 1), below(40))); break;
        default: text.resize(at);
      }
      if (text.size() > 20'000) text.resize(20'000);
    }
    return text;
  }

 private:
  std::mt19937 random_;
};

/// The readers by themselves: many more a second than over a socket.
void read(Mutations& mutations) {
  const std::string body = mutations.broken(mutations.one(kBodies));
  for (int which = 0; which < 3; ++which) try {
      const Json json = parse_body(body);
      if (which == 0) parse_completion(json, 300);
      if (which == 1) parse_chat(json, 300);
      if (which == 2) parse_embedding(json, 300);
    } catch (const ApiError& error) {
      if (error.status != 400 || Json::parse(error.reply().body).size() != 1) std::abort();
    }
}

bool send(Mutations& mutations, int port) {
  std::string bytes;
  for (size_t requests = 1 + mutations.below(2); requests > 0; --requests) {
    const std::string body = mutations.below(2) ? mutations.broken(mutations.one(kBodies)) : mutations.one(kBodies);
    std::string head = "POST " + mutations.one(kPaths) + " HTTP/1.1\r\nHost: x\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n";
    if (mutations.below(2)) head = mutations.broken(head);
    bytes += head + body;
  }
  std::ofstream("fuzz_driver.last", std::ios::binary) << bytes;
  Client client(port);
  if (!client.connected()) return false;
  client.send(bytes);
  if (mutations.below(8) == 0) return true;  // leaves at once
  client.half_close();
  for (;;) {
    const Got got = client.read();
    if (got.status == 0) return true;
    if (got.status == 100) continue;
    const bool stream = got.head.find("event-stream") != std::string::npos;
    if (!stream && !got.json().is_object()) {
      std::printf("no JSON: %s%s\n", got.head.c_str(), got.body.c_str());
      return false;
    }
  }
}

int run(double seconds, unsigned seed) {
  ServerOptions options;
  options.http.header_seconds = options.http.body_seconds = 1;
  Served served(options);
  {
    const std::lock_guard lock(served.mutex);
    served.log.clear();
  }
  Mutations mutations(seed);
  const auto end = std::chrono::steady_clock::now() + std::chrono::duration<double>(seconds);
  uint64_t parsed = 0, sent = 0;
  while (std::chrono::steady_clock::now() < end) {
    for (int i = 0; i < 50; ++i, ++parsed) read(mutations);
    if (!send(mutations, served.port())) {
      std::printf("seed %u: request %llu was not answered as it should be (fuzz_driver.last)\n", seed, static_cast<unsigned long long>(sent));
      return 1;
    }
    if (++sent % 100 == 0) {
      const std::lock_guard lock(served.mutex);
      served.log.clear();
    }
  }
  std::remove("fuzz_driver.last");
  const bool alive = ask(served.port(), "GET", "/health").status == 200;
  std::printf("seed %u: %llu bodies, %llu connections, %s\n", seed, static_cast<unsigned long long>(parsed),
              static_cast<unsigned long long>(sent), alive ? "alive" : "dead");
  return alive ? 0 : 1;
}

}  // namespace
}  // namespace shoal::serve

int main(int argc, char** argv) {
  if (argc != 3) {
    std::fprintf(stderr, "fuzz_driver SECONDS SEED\n");
    return 2;
  }
  return shoal::serve::run(std::atof(argv[1]), static_cast<unsigned>(std::atoi(argv[2])));
}
