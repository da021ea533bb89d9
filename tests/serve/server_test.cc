// From the first to the last: loading, reloading, draining.
#include "serve/server.h"

#include <gtest/gtest.h>

#include <future>
#include <string>

#include "serve/served.h"
#include "support/expect_error.h"

namespace shoal::serve {
namespace {

using std::chrono::microseconds;
Json of_length(int64_t tokens, bool stream = false) {
  return {{"prompt", std::string(static_cast<size_t>(tokens), 'x')}, {"max_tokens", tokens}, {"stream", stream}};
}

TEST(Server, IsNotReadyBeforeItsModelIs) {
  std::promise<void> go;
  ServerOptions options;
  options.port = 0;
  Server server(options, [&] { go.get_future().wait(); return std::make_shared<FakeModel>(); }, nullptr);
  auto started = std::async(std::launch::async, [&] { server.start(); });
  EXPECT_EQ(ask(server.port(), "GET", "/health").body, R"({"status":"loading"})");
  EXPECT_EQ(ask(server.port(), "GET", "/health").status, 503);
  EXPECT_EQ(ask(server.port(), "GET", "/metrics").status, 200);
  const Got got = post(server.port(), "/v1/completions", of_length(1));
  EXPECT_EQ(got.status, 503);
  EXPECT_EQ(got.message(), "model - it is being loaded; send the request again in a moment");
  go.set_value();
  started.get();
  EXPECT_EQ(ask(server.port(), "GET", "/health").status, 200);
}

TEST(Server, AnAddressThatCannotBeHadIsSaid) {
  Served served;
  ServerOptions options;
  options.port = served.port();
  const auto load = [] { return std::make_shared<FakeModel>(); };
  EXPECT_ERROR(Server(options, load, nullptr), InputError,
               "--address 127.0.0.1 --port " + std::to_string(served.port()) +
                   " - cannot be listened at: Address already in use; take another");
  options.address = "nowhere";
  EXPECT_ERROR(Server(options, load, nullptr), InputError, "--address - got nowhere, want an IP address, as 127.0.0.1 or ::");
}

TEST(Server, ADrainAnswersWhatIsUnderWayAndTakesNoMore) {
  Served served({}, microseconds(5000));
  Client whole(served.port()), stream(served.port()), idle(served.port());
  whole.request("POST", "/v1/completions", of_length(100).dump());
  stream.request("POST", "/v1/completions", of_length(100, true).dump());
  idle.request("GET", "/health");
  EXPECT_EQ(idle.read().status, 200);
  ASSERT_TRUE(Served::wait([&] { return served.model.load()->state().running == 2; }));
  auto drained = std::async(std::launch::async, [&] { return served.server->drain(); });
  ASSERT_TRUE(Served::wait([&] { return !Client(served.port()).connected(); }));
  idle.request("GET", "/health");
  const Got health = idle.read();
  EXPECT_EQ(health.status, 503);
  EXPECT_EQ(health.body, R"({"status":"draining"})");
  EXPECT_TRUE(idle.closed());
  EXPECT_EQ(whole.read().json()["choices"][0]["text"], std::string(100, 'x'));
  EXPECT_EQ(stream.read().events().back(), "[DONE]");
  whole.close();
  stream.close();
  EXPECT_TRUE(drained.get());
}

TEST(Server, ADrainThatTakesTooLongGivesUp) {
  ServerOptions options;
  options.drain_seconds = 0.3;
  Served served(options, microseconds(20'000));
  Client whole(served.port()), stream(served.port());
  whole.request("POST", "/v1/completions", of_length(400).dump());
  stream.request("POST", "/v1/completions", of_length(400, true).dump());
  ASSERT_TRUE(Served::wait([&] { return served.model.load()->state().running == 2; }));
  auto drained = std::async(std::launch::async, [&] { return served.server->drain(); });
  const Got got = whole.read();
  EXPECT_EQ(got.status, 503);
  EXPECT_EQ(got.message(), "server - got no time to finish: it is going down; send the request again");
  EXPECT_EQ(Json::parse(stream.read().events().back())["error"]["code"], "cancelled");
  whole.close();
  stream.close();
  EXPECT_FALSE(drained.get());
}

TEST(Server, EndsWithAnswersUnderWay) {
  Client whole(0), stream(0);
  Served served({}, microseconds(20'000));
  Client under_way(served.port());
  under_way.request("POST", "/v1/completions", of_length(400, true).dump());
  ASSERT_TRUE(Served::wait([&] { return served.model.load()->state().running == 1; }));
  served.server.reset();
  EXPECT_TRUE(under_way.closed());
}

TEST(Server, AReloadDropsNothing) {
  ServerOptions options;
  options.api.keys = {"k"};
  const std::string key = "Authorization: Bearer k\r\n";
  Served served(options, microseconds(5000));
  FakeModel* const old = served.model.load();
  Client under_way(served.port());
  under_way.request("POST", "/v1/completions", of_length(100).dump(), key);
  ASSERT_TRUE(Served::wait([&] { return old->state().running == 1; }));
  const Got got = post(served.port(), "/admin/reload", Json::object(), key);
  EXPECT_EQ(got.status, 200) << got.body;
  EXPECT_NE(served.model.load(), old);
  EXPECT_EQ(old->state().running, 1);
  EXPECT_EQ(post(served.port(), "/v1/completions", of_length(3), key).status, 200);
  EXPECT_EQ(served.model.load()->requests.size(), 1);
  EXPECT_EQ(under_way.read().json()["choices"][0]["text"], std::string(100, 'x'));
  served.fails_to_load = true;
  const Got failed = post(served.port(), "/admin/reload", Json::object(), key);
  EXPECT_EQ(failed.status, 500);
  EXPECT_EQ(failed.message(), "model.gguf - got nothing, want a model");
  EXPECT_EQ(post(served.port(), "/v1/completions", of_length(3), key).status, 200);
  EXPECT_EQ(post(served.port(), "/admin/reload", Json::object()).status, 401);
  EXPECT_NE(ask(served.port(), "GET", "/metrics", "", key).body.find("shoal_reloads_total{result=\"failed\"} 1"), std::string::npos);
  EXPECT_EQ(post(Served().port(), "/admin/reload", Json::object()).status, 403);
}

}  // namespace
}  // namespace shoal::serve
