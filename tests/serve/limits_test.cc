// What clients may do, and what they get when they do more: keys, rates, queues, sizes, timeouts, hostile bytes.
#include <gtest/gtest.h>
#include <unistd.h>

#include <chrono>
#include <fstream>
#include <random>
#include <string>
#include <vector>

#include "serve/served.h"
#include "support/expect_error.h"

namespace shoal::serve {
namespace {

using std::chrono::microseconds;
const Json kShort = {{"prompt", "abc"}};
Json endless(bool stream) { return {{"prompt", std::string(400, 'x')}, {"max_tokens", 400}, {"stream", stream}}; }

TEST(Limits, KeysAreAskedFor) {
  ServerOptions options;
  options.api.keys = {"secret", "other"};
  Served served(options);
  const Got none = post(served.port(), "/v1/completions", kShort);
  EXPECT_EQ(none.status, 401);
  EXPECT_EQ(none.message(), "authorization - got nothing, want the header Authorization: Bearer KEY");
  EXPECT_EQ(none.json()["error"]["type"], "authentication_error");
  for (const char* const wrong : {"Bearer secre", "Bearer secrets", "Basic secret", "secret", "Bearer ", "Bearer"})
    EXPECT_EQ(post(served.port(), "/v1/completions", kShort, std::string("Authorization: ") + wrong + "\r\n").status, 401) << wrong;
  EXPECT_EQ(post(served.port(), "/v1/completions", kShort, "Authorization: Bearer other\r\n").status, 200);
  EXPECT_EQ(served.model.load()->requests.back().client, "key-2");
  for (const char* const path : {"/metrics", "/v1/models"}) EXPECT_EQ(ask(served.port(), "GET", path).status, 401) << path;
  for (const char* const path : {"/", "/health"}) EXPECT_EQ(ask(served.port(), "GET", path).status, 200) << path;
  // Nor is a body read from who has none.
  Client client(served.port());
  client.send("POST /v1/completions HTTP/1.1\r\nContent-Length: 1000000\r\n\r\n");
  EXPECT_EQ(client.read().status, 401);
}

TEST(Limits, KeysAreReadFromAFile) {
  const std::string path = testing::TempDir() + "serve_keys_" + std::to_string(getpid());
  std::ofstream(path) << "# ours\n\none \r\ntwo\n";
  EXPECT_EQ(read_keys(path), (std::vector<std::string>{"one", "two"}));
  std::ofstream(path) << "# none\n";
  EXPECT_ERROR(read_keys(path), InputError, path + " - keys: got none, want at least one, each on its line");
  EXPECT_ERROR(read_keys("/no/file"), InputError, "/no/file - cannot be read: want a file with an API key on each line");
}

TEST(Limits, ARateIsHeldForEachClient) {
  Access access({}, 60);
  const auto now = Access::Clock::now();
  for (int i = 0; i < 60; ++i) EXPECT_EQ(access.wait_seconds("a", now), 0);
  EXPECT_NEAR(access.wait_seconds("a", now), 1, 1e-6);
  EXPECT_EQ(access.wait_seconds("b", now), 0);
  EXPECT_EQ(access.wait_seconds("a", now + std::chrono::milliseconds(1001)), 0);
  EXPECT_GT(access.wait_seconds("a", now + std::chrono::milliseconds(1001)), 0);
  // Nor do addresses without end take memory without end.
  for (int i = 0; i < 30'000; ++i) access.wait_seconds("x" + std::to_string(i), now);
  ServerOptions options;
  options.api.requests_per_minute = 2;
  Served served(options);
  EXPECT_EQ(post(served.port(), "/v1/completions", kShort).status, 200);
  EXPECT_EQ(post(served.port(), "/v1/completions", kShort).status, 200);
  const Got got = post(served.port(), "/v1/completions", kShort);
  EXPECT_EQ(got.status, 429);
  EXPECT_EQ(got.code(), "rate_limit_exceeded");
  EXPECT_NE(got.head.find("Retry-After: 30\r\n"), std::string::npos) << got.head;
  EXPECT_EQ(ask(served.port(), "GET", "/v1/models").status, 200);
}

TEST(Limits, AQueueHasAnEnd) {
  ServerOptions options;
  options.api.queue = 2;
  Served served(options);
  served.model.load()->paused = true;
  Client first(served.port()), second(served.port());
  first.request("POST", "/v1/completions", kShort.dump());
  second.request("POST", "/v1/completions", kShort.dump());
  ASSERT_TRUE(Served::wait([&] { return served.model.load()->state().queued == 2; }));
  const Got got = post(served.port(), "/v1/completions", kShort);
  EXPECT_EQ(got.status, 429);
  EXPECT_EQ(got.code(), "queue_full");
  EXPECT_EQ(got.message(), "queue - got 2 answers that wait, want at most 2; send the request again later");
  EXPECT_NE(got.head.find("Retry-After: "), std::string::npos);
  served.model.load()->paused = false;
  EXPECT_EQ(first.read().status, 200);
  EXPECT_EQ(second.read().status, 200);
}

TEST(Limits, BodiesAndHeadsHaveASize) {
  ServerOptions options;
  options.http.body_bytes = 1000;
  Served served(options);
  const std::string want = "body - got more than 1000 bytes, want at most so many";
  EXPECT_EQ(ask(served.port(), "POST", "/v1/completions", std::string(1001, ' ')).message(), want);
  // Chunked, and so large that all buffers are full.
  Client chunked(served.port());
  chunked.send("POST /v1/completions HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n");
  for (int i = 0; i < 100; ++i) chunked.send("400\r\n" + std::string(1024, 'x') + "\r\n");
  const Got got = chunked.read();
  EXPECT_EQ(got.status, 413);
  EXPECT_EQ(got.message(), want);
  Client large(served.port());
  large.send("POST /v1/completions HTTP/1.1\r\nContent-Length: 104857600\r\n\r\n");
  EXPECT_TRUE(large.send(std::string(100 << 20, 'x')));
  EXPECT_EQ(large.read().status, 413);
  EXPECT_TRUE(large.closed());
  const Got head = ask(served.port(), "GET", "/health", "", "X: " + std::string(20'000, 'x') + "\r\n");
  EXPECT_EQ(head.status, 431);
  EXPECT_EQ(head.code(), "head_too_large");
}

TEST(Limits, BodiesTogetherHaveASize) {
  ServerOptions options;
  options.http.bodies_bytes = 1000;
  Served served(options);
  Client slow(served.port());
  slow.send("POST /v1/completions HTTP/1.1\r\nContent-Length: 900\r\n\r\n");
  ASSERT_TRUE(Served::wait([&] { return ask(served.port(), "POST", "/tokenize", std::string(200, ' ')).status == 503; }));
  slow.close();
  EXPECT_TRUE(Served::wait([&] { return ask(served.port(), "POST", "/tokenize", std::string(200, ' ')).status == 400; }));
}

TEST(Limits, WhoIsSlowIsToldSoOrClosed) {
  ServerOptions options;
  options.http.header_seconds = options.http.body_seconds = options.http.idle_seconds = 0.3;
  Served served(options);
  Client idle(served.port()), head(served.port()), body(served.port());
  head.send("GET /health HT");
  body.send("POST /v1/completions HTTP/1.1\r\nContent-Length: 10\r\n\r\n{");
  const Got slow_head = head.read(), slow_body = body.read();
  EXPECT_EQ(slow_head.status, 408);
  EXPECT_EQ(slow_head.message(), "head - got only a part within 0.3 s, want all of it by then");
  EXPECT_EQ(slow_body.status, 408);
  EXPECT_EQ(slow_body.message(), "body - got only a part within 0.3 s, want all of it by then");
  EXPECT_TRUE(head.closed());
  EXPECT_TRUE(idle.closed());
}

TEST(Limits, WhoReadsNothingIsCutOffAndHoldsNoMemory) {
  ServerOptions options;
  options.http.stream_bytes = 64 << 10;
  Served served(options, microseconds(0));
  Client client(served.port(), 4096);
  Json body = endless(true);
  body["n"] = 128;
  client.request("POST", "/v1/completions", body.dump());
  const auto lines = served.lines(1);
  EXPECT_TRUE(lines[0]["client_left"].get<bool>());
  EXPECT_TRUE(Served::wait([&] { return served.model.load()->state().running == 0; }));
  // Also who stops reading while little is left: nothing goes out for a while.
  options.http.stream_bytes = 64 << 20;
  options.http.write_seconds = 0.3;
  Served second(options, microseconds(0));
  Client other(second.port(), 4096);
  other.request("POST", "/v1/completions", body.dump());
  EXPECT_TRUE(second.lines(1)[0]["client_left"].get<bool>());
}

TEST(Limits, ConnectionsHaveANumber) {
  ServerOptions options;
  options.http.connections = 3;
  Served served(options);
  std::vector<std::unique_ptr<Client>> clients;
  for (int i = 0; i < 3; ++i) {
    clients.push_back(std::make_unique<Client>(served.port()));
    clients.back()->request("GET", "/health");
    EXPECT_EQ(clients.back()->read().status, 200);
  }
  const Got got = ask(served.port(), "GET", "/health");
  EXPECT_EQ(got.status, 503);
  EXPECT_EQ(got.code(), "too_many_connections");
  clients.pop_back();
  EXPECT_TRUE(Served::wait([&] { return ask(served.port(), "GET", "/health").status == 200; }));
}

TEST(Limits, AnAnswerIsGivenUpWhenItsClientLeaves) {
  for (const bool stream : {false, true}) {
    Served served({}, microseconds(20'000));
    FakeModel& model = *served.model.load();
    {
      Client client(served.port());
      client.request("POST", "/v1/completions", endless(stream).dump());
      ASSERT_TRUE(Served::wait([&] { return model.state().running == 1; }));
    }
    const auto begin = std::chrono::steady_clock::now();
    EXPECT_TRUE(Served::wait([&] { return model.state().running == 0; }));
    EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(4)) << "it would take 8 s";
    EXPECT_TRUE(served.lines(1)[0]["client_left"].get<bool>());
  }
}

TEST(Limits, AHalfClosedClientIsToldWhatItGets) {
  Served served({}, microseconds(20'000));
  Client client(served.port());
  client.request("POST", "/v1/completions", endless(false).dump());
  client.half_close();
  const Got got = client.read();
  EXPECT_EQ(got.status, 499);
  EXPECT_EQ(got.message(), "connection - got its end before the answer was ready, want it open until then");
  Client early(served.port());
  early.send("POST /v1/completions HTTP/1.1\r\nContent-Length: 10\r\n\r\n{");
  early.half_close();
  EXPECT_EQ(early.read().message(), "connection - got its end within the request, want all of the request");
}

TEST(Limits, GarbageIsAnsweredWithOneError) {
  Served served;
  std::mt19937 random(1);
  std::vector<std::string> garbage = {"\r\n\r\n\r\n\r\n", "GET\r\n\r\n", "GET / HTTP/9.9\r\n\r\n", "\x16\x03\x01\x02\x00\x01\r\n\r\n",
                                      "GET / HTTP/1.1\r\nNo colon\r\n\r\n", "POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
                                      "POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx",
                                      "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n\r\n"};
  for (int i = 0; i < 50; ++i) {
    std::string bytes(1 + random() % 200, ' ');
    for (char& byte : bytes) byte = static_cast<char>(random());
    garbage.push_back(bytes + "\r\n\r\n");
  }
  for (const std::string& bytes : garbage) {
    Client client(served.port());
    client.send(bytes);
    client.half_close();
    const Got got = client.read();
    if (got.status != 0) {
      EXPECT_GE(got.status, 400);
      EXPECT_TRUE(got.json().contains("error")) << got.body;
    }
    EXPECT_TRUE(client.closed());
  }
  EXPECT_EQ(ask(served.port(), "GET", "/health").status, 200);
}

TEST(Limits, AConnectionTakesManyRequests) {
  Served served;
  Client client(served.port());
  for (int i = 0; i < 3; ++i) {
    client.request("POST", "/v1/completions", kShort.dump());
    EXPECT_EQ(client.read().status, 200);
    client.request("POST", "/v1/completions", "{");
    EXPECT_EQ(client.read().status, 400);
  }
  // Two at once, answered in order.
  const std::string one = "POST /tokenize HTTP/1.1\r\nContent-Length: 12\r\n\r\n{\"text\":\"a\"}";
  client.send(one + "GET /health HTTP/1.1\r\n\r\n");
  EXPECT_EQ(client.read().json()["count"], 1);
  EXPECT_EQ(client.read().json()["status"], "ok");
  // HTTP/1.0 gets the end of the connection as the end of a stream.
  Client old(served.port());
  const std::string body = Json({{"prompt", "ab"}, {"stream", true}}).dump();
  old.send("POST /v1/completions HTTP/1.0\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body);
  const Got got = old.read();
  EXPECT_EQ(got.head.find("chunked"), std::string::npos);
  EXPECT_EQ(got.events().back(), "[DONE]");
  // Who asks whether it may send is answered.
  Client asking(served.port());
  asking.send("POST /tokenize HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 12\r\n\r\n");
  EXPECT_EQ(asking.read_until("\r\n\r\n"), "HTTP/1.1 100 Continue\r\n\r\n");
  asking.send("{\"text\":\"a\"}");
  EXPECT_EQ(asking.read().json()["count"], 1);
}

}  // namespace
}  // namespace shoal::serve
