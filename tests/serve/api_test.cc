// The API over loopback, with a model that repeats its prompt.
#include <gtest/gtest.h>

#include <string>
#include <thread>
#include <vector>

#include "serve/served.h"

namespace shoal::serve {
namespace {

Json user(const std::string& text) { return Json::array({{{"role", "user"}, {"content", text}}}); }

TEST(Api, ACompletionIsWhatTheModelSays) {
  Served served;
  const Got got = post(served.port(), "/v1/completions", {{"prompt", "Hey"}, {"model", "fake"}});
  EXPECT_EQ(got.status, 200);
  const Json json = got.json();
  EXPECT_EQ(json["object"], "text_completion");
  EXPECT_EQ(json["model"], "fake");
  EXPECT_EQ(json["system_fingerprint"], "fp_fake");
  EXPECT_EQ(json["choices"].dump(), R"([{"index":0,"text":"Hey","logprobs":null,"finish_reason":"stop"}])");
  EXPECT_EQ(json["usage"].dump(), R"({"prompt_tokens":4,"completion_tokens":4,"total_tokens":8})");
  EXPECT_TRUE(json["id"].get<std::string>().starts_with("cmpl-"));
}

TEST(Api, LengthsStopsAndSeveralAnswers) {
  Served served;
  const Json shorter = post(served.port(), "/v1/completions", {{"prompt", "abcdef"}, {"max_tokens", 3}}).json();
  EXPECT_EQ(shorter["choices"][0]["text"], "abc");
  EXPECT_EQ(shorter["choices"][0]["finish_reason"], "length");
  const Json stopped = post(served.port(), "/v1/completions", {{"prompt", "one END two"}, {"stop", "END"}, {"max_tokens", 50}}).json();
  EXPECT_EQ(stopped["choices"][0]["text"], "one ");
  EXPECT_EQ(stopped["choices"][0]["finish_reason"], "stop");
  EXPECT_EQ(stopped["usage"]["completion_tokens"], 7);
  const Json several = post(served.port(), "/v1/completions", {{"prompt", {"x", "yy"}}, {"n", 2}, {"seed", 7}}).json();
  ASSERT_EQ(several["choices"].size(), 4);
  const std::vector<std::string> texts = {"x", "x", "yy", "yy"};
  for (size_t i = 0; i < 4; ++i) {
    EXPECT_EQ(several["choices"][i]["index"], i);
    EXPECT_EQ(several["choices"][i]["text"], texts[i]);
  }
  EXPECT_EQ(several["usage"]["prompt_tokens"], 5);
  const auto& requests = served.model.load()->requests;
  ASSERT_EQ(requests.size(), 6);
  EXPECT_EQ(requests[2].sampling.seed, 7);
  EXPECT_EQ(requests[2].sampling.answer, 0);
  EXPECT_EQ(requests[3].sampling.answer, 1);
  EXPECT_NE(requests[0].sampling.seed, requests[1].sampling.seed);  // drawn
}

TEST(Api, EchoAndLogProbabilities) {
  Served served;
  const Json got = post(served.port(), "/v1/completions",
                        {{"prompt", {258, 97}}, {"max_tokens", 1}, {"echo", true}, {"logprobs", 1}}).json();
  const Json& choice = got["choices"][0];
  EXPECT_EQ(choice["text"], "HelloaHello");
  const Json& logprobs = choice["logprobs"];
  EXPECT_EQ(logprobs["tokens"].dump(), R"(["Hello","a","Hello"])");
  EXPECT_EQ(logprobs["text_offset"].dump(), "[0,5,6]");
  EXPECT_TRUE(logprobs["token_logprobs"][0].is_null());
  // To the bit.
  EXPECT_EQ(logprobs["token_logprobs"][1].get<float>(), FakeModel::logprob(97));
  EXPECT_EQ(logprobs["token_logprobs"][2].get<float>(), FakeModel::logprob(258));
  EXPECT_EQ(logprobs["top_logprobs"][1]["a"].get<float>(), FakeModel::logprob(97));
  const Json scored = post(served.port(), "/v1/completions",
                           {{"prompt", "ab"}, {"max_tokens", 0}, {"echo", true}, {"logprobs", 0}}).json();
  EXPECT_EQ(scored["choices"][0]["text"], "ab");
  EXPECT_EQ(scored["choices"][0]["logprobs"]["tokens"].dump(), R"(["","a","b"])");
  const Json plain = post(served.port(), "/v1/completions", {{"prompt", "ab"}, {"max_tokens", 1}, {"echo", true}}).json();
  EXPECT_EQ(plain["choices"][0]["text"], "aba");
}

TEST(Api, AStreamHasTheSameTextAndEndsAsItShould) {
  Served served;
  const Got got = post(served.port(), "/v1/completions",
                       {{"prompt", "one END"}, {"stop", {"END"}}, {"stream", true}, {"stream_options", {{"include_usage", true}}}});
  EXPECT_NE(got.head.find("Content-Type: text/event-stream"), std::string::npos);
  std::vector<std::string> events = got.events();
  ASSERT_GE(events.size(), 4);
  EXPECT_EQ(events.back(), "[DONE]");
  events.pop_back();
  const Json usage = Json::parse(events.back());
  EXPECT_EQ(usage["choices"].size(), 0);
  EXPECT_EQ(usage["usage"]["completion_tokens"], 7);
  events.pop_back();
  std::string text;
  for (const std::string& event : events) {
    const Json chunk = Json::parse(event);
    EXPECT_TRUE(chunk["usage"].is_null());
    text += chunk["choices"][0]["text"].get<std::string>();
    EXPECT_EQ(text.find('E'), std::string::npos);
  }
  EXPECT_EQ(text, "one ");
  EXPECT_EQ(Json::parse(events.back())["choices"][0]["finish_reason"], "stop");
}

TEST(Api, AChatWholeAndStreamed) {
  Served served;
  const Json whole = post(served.port(), "/v1/chat/completions",
                          {{"messages", user("Hi")}, {"logprobs", true}, {"top_logprobs", 2}}).json();
  EXPECT_EQ(whole["object"], "chat.completion");
  const Json& choice = whole["choices"][0];
  EXPECT_EQ(choice["message"].dump(), R"({"role":"assistant","content":"Hi","refusal":null})");
  EXPECT_EQ(choice["finish_reason"], "stop");
  ASSERT_EQ(choice["logprobs"]["content"].size(), 2);
  const Json& token = choice["logprobs"]["content"][0];
  EXPECT_EQ(token["token"], "H");
  EXPECT_EQ(token["bytes"].dump(), "[72]");
  EXPECT_EQ(token["logprob"].get<float>(), FakeModel::logprob('H'));
  ASSERT_EQ(token["top_logprobs"].size(), 2);
  EXPECT_EQ(token["top_logprobs"][1]["token"], "I");

  const Got streamed = post(served.port(), "/v1/chat/completions", {{"messages", user("Hi")}, {"stream", true}, {"n", 2}});
  std::vector<std::string> events = streamed.events();
  ASSERT_EQ(events.back(), "[DONE]");
  events.pop_back();
  std::string texts[2];
  int roles = 0, ends = 0;
  for (const std::string& event : events) {
    const Json chunk = Json::parse(event);
    EXPECT_EQ(chunk["object"], "chat.completion.chunk");
    EXPECT_FALSE(chunk.contains("usage"));
    const Json& one = chunk["choices"][0];
    if (one["delta"].contains("role")) ++roles;
    if (one["finish_reason"] == "stop") ++ends;
    texts[one["index"].get<int>()] += one["delta"].value("content", "");
  }
  EXPECT_EQ(texts[0], "Hi");
  EXPECT_EQ(texts[1], "Hi");
  EXPECT_EQ(roles, 2);
  EXPECT_EQ(ends, 2);
}

TEST(Api, FormsReachTheEngineAsGrammars) {
  Served served;
  const auto grammar = [&](const Json& more) {
    Json body = {{"messages", user("a")}};
    body.update(more);
    EXPECT_EQ(post(served.port(), "/v1/chat/completions", body).status, 200);
    const auto& requests = served.model.load()->requests;
    const auto* const made = static_cast<const FakeGrammar*>(requests.back().grammar.get());
    return made ? made->text : "none";
  };
  EXPECT_EQ(grammar({{"response_format", {{"type", "text"}}}}), "none");
  EXPECT_EQ(grammar({{"response_format", {{"type", "json_object"}}}}), "{}");
  EXPECT_EQ(grammar({{"grammar", "root ::= \"x\""}}), "root ::= \"x\"");
  EXPECT_EQ(grammar({{"response_format", {{"type", "json_schema"}, {"json_schema", {{"name", "n"}, {"schema", {{"type", "object"}}}}}}}}),
            R"({"type":"object"})");
  const Got wrong = post(served.port(), "/v1/chat/completions", {{"messages", user("a")}, {"grammar", "wrong"}});
  EXPECT_EQ(wrong.status, 400);
  EXPECT_EQ(wrong.json()["error"]["param"], "grammar");
}

TEST(Api, WhatCannotBeAnsweredIsOneError) {
  Served served;
  const auto said = [&](const std::string& path, const Json& body, int status) {
    const Got got = post(served.port(), path, body);
    EXPECT_EQ(got.status, status) << got.body;
    return got.message();
  };
  EXPECT_EQ(said("/v1/completions", {{"prompt", "a"}, {"model", "other"}}, 404), "model - got \"other\", want fake");
  EXPECT_EQ(said("/v1/completions", {{"prompt", "a"}, {"max_tokens", 999}}, 400),
            "prompt - got 2 tokens, and at least 999 to answer, want at most 1000 together, the model's context");
  EXPECT_EQ(said("/v1/chat/completions", {{"messages", user(std::string(1000, 'x'))}}, 400),
            "messages - got 1000 tokens, and at least 1 to answer, want at most 1000 together, the model's context");
  EXPECT_EQ(said("/v1/chat/completions", {{"messages", user("refuse me")}}, 400), "chat template - refused: got what it does not want");
  EXPECT_EQ(said("/nothing", Json::object(), 404), "path - got \"/nothing\", want one that docs/serving.md names");
  EXPECT_EQ(ask(served.port(), "GET", "/v1/completions").message(), "/v1/completions - method: got \"GET\", want POST");
  EXPECT_EQ(ask(served.port(), "DELETE", "/v1/models").status, 405);
  served.model.load()->refuse_ = true;
  EXPECT_EQ(said("/v1/completions", {{"prompt", "a"}}, 400), "request - refused: as the test wants it");
  EXPECT_EQ(post(served.port(), "/v1/completions", {{"prompt", "a"}, {"stream", true}, {"n", 3}}).code(), "invalid_value");
}

TEST(Api, AnErrorHasTheFieldsOfOpenAIs) {
  Served served;
  const Got got = post(served.port(), "/v1/completions", {{"prompt", "a"}, {"n", -1}});
  EXPECT_EQ(got.json().dump(),
            R"({"error":{"message":"n - got -1, want a whole number from 1 to 128","type":"invalid_request_error","param":"n","code":"invalid_value"}})");
}

TEST(Api, AnEngineThatFailsIsSaid) {
  Served served;
  served.model.load()->failing = true;
  const Got whole = post(served.port(), "/v1/completions", {{"prompt", "abcdef"}});
  EXPECT_EQ(whole.status, 500);
  EXPECT_EQ(whole.code(), "engine_failed");
  EXPECT_EQ(whole.message(), "device 1 - died three times: as the test wants it");
  const Got streamed = post(served.port(), "/v1/completions", {{"prompt", "abcdef"}, {"stream", true}, {"n", 2}});
  EXPECT_EQ(streamed.status, 200);
  const auto events = streamed.events();
  EXPECT_EQ(Json::parse(events.back())["error"]["code"], "engine_failed");
  EXPECT_EQ(std::count_if(events.begin(), events.end(), [](const auto& e) { return e.find("error") != std::string::npos; }), 1);
}

TEST(Api, ModelsTokensHealthAndThePage) {
  Served served;
  EXPECT_EQ(ask(served.port(), "GET", "/v1/models").json()["data"][0]["id"], "fake");
  EXPECT_EQ(ask(served.port(), "GET", "/v1/models/fake").json()["context"], 1000);
  EXPECT_EQ(ask(served.port(), "GET", "/v1/models/other").status, 404);
  EXPECT_EQ(post(served.port(), "/tokenize", {{"text", "ab"}}).body, R"({"tokens":[97,98],"count":2})");
  EXPECT_EQ(post(served.port(), "/tokenize", {{"text", "a"}, {"add_special", true}}).json()["tokens"].dump(), "[257,97]");
  EXPECT_EQ(post(served.port(), "/detokenize", {{"tokens", {258, 259, 261}}}).body, "{\"text\":\"Hello world\xEF\xBF\xBD\"}");
  EXPECT_EQ(post(served.port(), "/tokenize", {{"txt", "ab"}}).status, 400);
  EXPECT_EQ(post(served.port(), "/detokenize", {{"tokens", {900}}}).status, 400);
  EXPECT_EQ(ask(served.port(), "GET", "/health?x=1").body, R"({"status":"ok"})");
  served.model.load()->ready = false;
  EXPECT_EQ(ask(served.port(), "GET", "/health").status, 503);
  const Got page = ask(served.port(), "GET", "/");
  EXPECT_NE(page.head.find("text/html"), std::string::npos);
  EXPECT_NE(page.body.find("<!doctype html>"), std::string::npos);
  const Got head = ask(served.port(), "HEAD", "/");
  EXPECT_EQ(head.status, 200);
}

TEST(Api, Embeddings) {
  Served served;
  const Json got = post(served.port(), "/v1/embeddings", {{"input", {"abc", "d"}}}).json();
  EXPECT_EQ(got["data"].size(), 2);
  EXPECT_EQ(got["data"][0]["embedding"].dump(), "[4.0,0.5,-0.25]");
  EXPECT_EQ(got["data"][1]["index"], 1);
  EXPECT_EQ(got["usage"].dump(), R"({"prompt_tokens":6,"total_tokens":6})");
  const Json coded = post(served.port(), "/v1/embeddings", {{"input", "abc"}, {"encoding_format", "base64"}}).json();
  EXPECT_EQ(coded["data"][0]["embedding"], "AACAQAAAAD8AAIC+");
  EXPECT_EQ(post(served.port(), "/v1/embeddings", {{"input", "die!"}}).status, 500);
}

TEST(Api, MetricsAndTheLogTell) {
  Served served;
  post(served.port(), "/v1/completions", {{"prompt", "abc"}});
  post(served.port(), "/v1/completions", {{"prompt", 3}});
  ask(served.port(), "GET", "/guess");
  served.lines(3);
  const std::string text = ask(served.port(), "GET", "/metrics").body;
  for (const char* const line :
       {"shoal_requests_total{path=\"/v1/completions\",code=\"200\"} 1\n", "shoal_requests_total{path=\"/v1/completions\",code=\"400\"} 1\n",
        "shoal_requests_total{path=\"other\",code=\"404\"} 1\n", "shoal_first_token_seconds_count 1\n",
        "shoal_between_tokens_seconds_count 3\n", "shoal_between_tokens_seconds_bucket{le=\"+Inf\"} 3\n", "shoal_ready 1\n",
        "shoal_restarts_total 0\n", "shoal_queued 0\n", "# TYPE shoal_first_token_seconds histogram\n"})
    EXPECT_NE(text.find(line), std::string::npos) << line << text;
  const auto lines = served.lines(4);
  EXPECT_EQ(lines[0]["path"], "/v1/completions");
  EXPECT_EQ(lines[0]["status"], 200);
  EXPECT_EQ(lines[0]["prompt_tokens"], 4);
  EXPECT_EQ(lines[0]["answer_tokens"], 4);
  EXPECT_EQ(lines[0]["finish"], "stop");
  EXPECT_EQ(lines[0]["client"], "127.0.0.1");
  EXPECT_TRUE(lines[0]["seconds"].is_number() && lines[0]["first_token_seconds"].is_number());
  EXPECT_EQ(lines[1]["status"], 400);
  EXPECT_TRUE(lines[1]["error"].get<std::string>().starts_with("prompt - got 3"));
}

TEST(Api, ManyAtOnceGetEachTheirOwn) {
  Served served({}, std::chrono::microseconds(50), 4);
  std::vector<std::thread> threads;
  std::atomic<int> right{0};
  for (int i = 0; i < 16; ++i)
    threads.emplace_back([&, i] {
      Client client(served.port());
      for (int k = 0; k < 10; ++k) {
        const std::string text = "client " + std::to_string(i) + " request " + std::to_string(k);
        client.request("POST", "/v1/completions", Json({{"prompt", text}, {"max_tokens", 100}, {"stream", k % 2 == 1}}).dump());
        const Got got = client.read();
        std::string said;
        if (k % 2 == 0) {
          said = got.json()["choices"][0]["text"];
        } else {
          for (const std::string& event : got.events())
            if (event != "[DONE]") said += Json::parse(event)["choices"][0]["text"].get<std::string>();
        }
        if (said == text) ++right;
      }
    });
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(right, 160);
}

}  // namespace
}  // namespace shoal::serve
