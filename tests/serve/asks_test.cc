// Every field: what it may be, and what is said where it is not.
#include "serve/asks.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "serve/api_error.h"

namespace shoal::serve {
namespace {

constexpr Token kVocabulary = 100;

/// What is wrong with a body: "param: message".
template <class Parse>
std::string fault(const Parse& parse, const std::string& body) {
  try {
    parse(parse_body(body), kVocabulary);
    return "";
  } catch (const ApiError& error) {
    EXPECT_EQ(error.status, 400) << body;
    EXPECT_EQ(error.json()["error"]["message"], error.what());
    return error.param + ": " + error.what();
  }
}
std::string completion_fault(const std::string& fields) {
  return fault(parse_completion, "{\"prompt\": \"x\"" + (fields.empty() ? "" : ", " + fields) + "}");
}
std::string chat_fault(const std::string& fields) {
  return fault(parse_chat, "{\"messages\": [{\"role\": \"user\", \"content\": \"x\"}]" + (fields.empty() ? "" : ", " + fields) + "}");
}

TEST(Asks, BodiesThatAreNoObjectsAreRefused) {
  const auto said = [](const std::string& body) { return fault(parse_completion, body); };
  EXPECT_EQ(said(""), ": body - got nothing, want a JSON object");
  EXPECT_EQ(said("{"), ": body - JSON: got what is none from byte 2 on, want an object in UTF-8");
  EXPECT_EQ(said("{\"prompt\": \"\xff\"}"), ": body - JSON: got what is none from byte 13 on, want an object in UTF-8");
  EXPECT_EQ(said("{\"prompt\": \"\\ud800\"}"), ": body - JSON: got what is none from byte 19 on, want an object in UTF-8");
  EXPECT_EQ(said("[1]"), ": body - got a list, want an object");
  EXPECT_EQ(said("3"), ": body - got 3, want an object");
  EXPECT_EQ(said("{\"prompt\": 1e999}"), ": body - JSON: got a number out of range, want those that fit 64 bits");
  const std::string deep(100'000, '[');
  EXPECT_EQ(said(deep), ": body - nesting: got more than 64 levels, want at most 64");
  std::string wide = "{";
  for (int i = 0; i < 2000; ++i) wide += "\"" + std::to_string(i) + "\":0,";
  EXPECT_EQ(said(wide + "\"a\":0}"), ": body - keys: got more than 1024 in one object, want at most 1024");
}

TEST(Asks, EachFieldOfACompletionIsChecked) {
  const std::string tokens = "a text, a list of tokens, or a list of 1 to 128 of one of these";
  EXPECT_EQ(fault(parse_completion, "{}"), "prompt: prompt - got nothing, want a text");
  const auto prompt = [](const std::string& value) { return fault(parse_completion, "{\"prompt\": " + value + "}"); };
  EXPECT_EQ(prompt("3"), "prompt: prompt - got 3, want " + tokens);
  EXPECT_EQ(prompt("[]"), "prompt: prompt - got an empty list, want " + tokens);
  EXPECT_EQ(prompt("[\"a\", 1]"), "prompt: prompt - got 1, want " + tokens);
  EXPECT_EQ(prompt("[[1], \"a\"]"), "prompt: prompt - got \"a\", want " + tokens);
  EXPECT_EQ(prompt("[1, 100]"), "prompt: prompt - got 100, want a list of tokens from 0 to 99");
  EXPECT_EQ(prompt("[-1]"), "prompt: prompt - got -1, want a list of tokens from 0 to 99");
  EXPECT_EQ(prompt("[1.5]"), "prompt: prompt - got 1.5, want a list of tokens from 0 to 99");
  EXPECT_EQ(prompt("[18446744073709551615]"), "prompt: prompt - got 18446744073709551615, want a list of tokens from 0 to 99");

  const std::vector<std::pair<std::string, std::string>> table = {
      {"\"temperature\": 2.5", "temperature: temperature - got 2.5, want a number from 0 to 2"},
      {"\"temperature\": \"1\"", "temperature: temperature - got \"1\", want a number from 0 to 2"},
      {"\"top_p\": 1.01", "top_p: top_p - got 1.01, want a number from 0 to 1"},
      {"\"min_p\": -0.5", "min_p: min_p - got -0.5, want a number from 0 to 1"},
      {"\"top_k\": 1.5", "top_k: top_k - got 1.5, want a whole number from 0 to 2147483647"},
      {"\"top_k\": -1", "top_k: top_k - got -1, want a whole number from 0 to 2147483647"},
      {"\"presence_penalty\": 3", "presence_penalty: presence_penalty - got 3, want a number from -2 to 2"},
      {"\"frequency_penalty\": []", "frequency_penalty: frequency_penalty - got an empty list, want a number from -2 to 2"},
      {"\"repetition_penalty\": 0", "repetition_penalty: repetition_penalty - got 0, want a number from 0.01 to 100"},
      {"\"seed\": \"x\"", "seed: seed - got \"x\", want a whole number from -9223372036854775808 to 9223372036854775807"},
      {"\"max_tokens\": -1", "max_tokens: max_tokens - got -1, want a whole number from 0 to 16777216"},
      {"\"max_tokens\": 0", "max_tokens: max_tokens - got 0, want at least 1, or echo"},
      {"\"logprobs\": 21", "logprobs: logprobs - got 21, want a whole number from 0 to 20"},
      {"\"logprobs\": true", "logprobs: logprobs - got true, want a whole number from 0 to 20"},
      {"\"n\": 0", "n: n - got 0, want a whole number from 1 to 128"},
      {"\"n\": 18446744073709551615", "n: n - got 18446744073709551615, want a whole number from 1 to 128"},
      {"\"echo\": 1", "echo: echo - got 1, want true or false"},
      {"\"stream\": \"yes\"", "stream: stream - got \"yes\", want true or false"},
      {"\"stream_options\": {}", "stream_options: stream_options - got an object, want none where stream is not true"},
      {"\"stream\": true, \"stream_options\": {\"usage\": true}",
       "stream_options.usage: stream_options.\"usage\" - got an unknown field, want one that docs/serving.md names"},
      {"\"stream\": true, \"stream_options\": {\"include_usage\": 1}",
       "stream_options.include_usage: stream_options.include_usage - got 1, want true or false"},
      {"\"stop\": \"\"", "stop: stop - got \"\", want a text or a list of 1 to 4 texts, none of them empty"},
      {"\"stop\": 3", "stop: stop - got 3, want a text or a list of 1 to 4 texts, none of them empty"},
      {"\"stop\": [\"a\", 3]", "stop: stop - got 3, want a text or a list of 1 to 4 texts, none of them empty"},
      {"\"stop\": [\"a\", \"b\", \"c\", \"d\", \"e\"]",
       "stop: stop - got a list, want a text or a list of 1 to 4 texts, none of them empty"},
      {"\"logit_bias\": {\"100\": 1}", "logit_bias: logit_bias - got \"100\", want tokens from 0 to 99 as names"},
      {"\"logit_bias\": {\"1x\": 1}", "logit_bias: logit_bias - got \"1x\", want tokens from 0 to 99 as names"},
      {"\"logit_bias\": {\"1\": 101}", "logit_bias.1: logit_bias.1 - got 101, want a number from -100 to 100"},
      {"\"logit_bias\": 3", "logit_bias: logit_bias - got 3, want an object"},
      {"\"model\": 3", "model: model - got 3, want a text"},
      {"\"user\": 3", "user: user - got 3, want a text"},
      {"\"grammar\": 3", "grammar: grammar - got 3, want a text"},
      {"\"response_format\": \"json\"", "response_format: response_format - got \"json\", want an object"},
      {"\"response_format\": {}", "response_format.type: response_format.type - got nothing, want text, json_object or json_schema"},
      {"\"response_format\": {\"type\": \"xml\"}",
       "response_format.type: response_format.type - got \"xml\", want text, json_object or json_schema"},
      {"\"response_format\": {\"type\": \"json_schema\"}",
       "response_format.json_schema: response_format.json_schema - got nothing, want an object with name and schema"},
      {"\"response_format\": {\"type\": \"json_schema\", \"json_schema\": {\"schema\": 3}}",
       "response_format.json_schema.schema: response_format.json_schema.schema - got 3, want a JSON schema"},
      {"\"grammar\": \"root ::= x\", \"response_format\": {\"type\": \"json_object\"}",
       "grammar: grammar - got one beside a response_format, want one of the two"},
      {"\"suffix\": \"x\"", "suffix: suffix - got \"x\", which this server does not support; leave it out"},
      {"\"best_of\": 3", "best_of: best_of - got 3, which this server does not support; leave it out"},
      {"\"temprature\": 1",
       "temprature: \"temprature\" - got an unknown field, want one that docs/serving.md names; did you mean temperature?"},
      {"\"max_completion_tokens\": 1",
       "max_completion_tokens: \"max_completion_tokens\" - got an unknown field, want one that docs/serving.md names"},
  };
  for (const auto& [fields, want] : table) EXPECT_EQ(completion_fault(fields), want) << fields;
  EXPECT_EQ(fault(parse_completion, "{\"prompt\": [\"a\", \"b\"], \"n\": 65}"),
            "n: n - got 65 answers to 2 prompts, want at most 128 answers in one request");
}

TEST(Asks, EachFieldOfAChatIsChecked) {
  const std::vector<std::pair<std::string, std::string>> table = {
      {"\"max_tokens\": 0", "max_tokens: max_tokens - got 0, want a whole number from 1 to 16777216"},
      {"\"max_tokens\": 1, \"max_completion_tokens\": 2",
       "max_tokens: max_tokens - got 1 and max_completion_tokens 2, want one of the two"},
      {"\"logprobs\": 3", "logprobs: logprobs - got 3, want true or false"},
      {"\"top_logprobs\": 3", "top_logprobs: top_logprobs - got some without logprobs, want logprobs true"},
      {"\"logprobs\": true, \"top_logprobs\": 21", "top_logprobs: top_logprobs - got 21, want a whole number from 0 to 20"},
      {"\"tools\": [{}]", "tools: tools - got a list, which this server does not support; leave it out"},
      {"\"tool_choice\": \"auto\"", "tool_choice: tool_choice - got \"auto\", which this server does not support; leave it out"},
      {"\"modalities\": [\"audio\"]", "modalities: modalities - got a list, which this server does not support; leave it out"},
      {"\"echo\": true", "echo: \"echo\" - got an unknown field, want one that docs/serving.md names"},
  };
  for (const auto& [fields, want] : table) EXPECT_EQ(chat_fault(fields), want) << fields;
  const auto messages = [](const std::string& value) { return fault(parse_chat, "{\"messages\": " + value + "}"); };
  const std::string content = "a text or a list of {\"type\": \"text\", \"text\": ...}";
  EXPECT_EQ(fault(parse_chat, "{}"), "messages: messages - got nothing, want a list of at least one message");
  EXPECT_EQ(messages("[]"), "messages: messages - got an empty list, want a list of at least one message");
  EXPECT_EQ(messages("[3]"), "messages[0]: messages[0] - got 3, want an object");
  EXPECT_EQ(messages("[{}]"), "messages[0].role: messages[0].role - got nothing, want system, developer, user or assistant");
  EXPECT_EQ(messages("[{\"role\": \"tool\", \"content\": \"x\"}]"),
            "messages[0].role: messages[0].role - got \"tool\", want system, developer, user or assistant");
  EXPECT_EQ(messages("[{\"role\": \"user\"}]"), "messages[0].content: messages[0].content - got nothing, want " + content);
  EXPECT_EQ(messages("[{\"role\": \"user\", \"content\": 3}]"), "messages[0].content: messages[0].content - got 3, want " + content);
  EXPECT_EQ(messages("[{\"role\": \"user\", \"content\": [{\"type\": \"image_url\"}]}]"),
            "messages[0].content[0].type: messages[0].content[0].type - got \"image_url\", want text: other parts are not supported");
  EXPECT_EQ(messages("[{\"role\": \"user\", \"content\": \"x\", \"tool_calls\": [1]}]"),
            "messages[0].tool_calls: messages[0].tool_calls - got a list, which this server does not support; leave it out");
  EXPECT_EQ(messages("[{\"role\": \"user\", \"content\": \"x\", \"mood\": 1}]"),
            "messages[0].mood: messages[0].\"mood\" - got an unknown field, want one that docs/serving.md names");
}

TEST(Asks, EachFieldOfEmbeddingsIsChecked) {
  const auto said = [](const std::string& body) { return fault(parse_embedding, body); };
  EXPECT_EQ(said("{}"), "input: input - got nothing, want a text");
  EXPECT_EQ(said("{\"input\": \"x\", \"encoding_format\": \"hex\"}"),
            "encoding_format: encoding_format - got \"hex\", want float or base64");
  EXPECT_EQ(said("{\"input\": \"x\", \"dimensions\": 3}"),
            "dimensions: dimensions - got 3, which this server does not support; leave it out");
  EXPECT_EQ(said("{\"input\": {}}"), "input: input - got an object, want a text, a list of tokens, or a list of 1 to 2048 of one of these");
}

TEST(Asks, WhatIsRightIsTaken) {
  const CompletionAsk ask = parse_completion(
      parse_body(R"({"prompt": ["a", "b"], "model": "m", "n": 2, "max_tokens": 5.0, "temperature": 0.5, "top_p": 0.9,
                     "top_k": 3, "min_p": 0.1, "presence_penalty": 1, "frequency_penalty": -1, "repetition_penalty": 1.1,
                     "seed": -1, "stop": ["x", "y"], "stream": true, "stream_options": {"include_usage": true},
                     "logprobs": 2, "echo": true, "logit_bias": {"3": -100}, "user": "u", "suffix": null, "best_of": 2})"),
      kVocabulary);
  EXPECT_EQ(ask.prompts.size(), 2);
  EXPECT_EQ(ask.n, 2);
  EXPECT_EQ(ask.max_tokens, 5);
  EXPECT_EQ(ask.sampling.temperature, 0.5);
  EXPECT_EQ(ask.sampling.top_k, 3);
  EXPECT_EQ(ask.sampling.seed, ~uint64_t{0});
  EXPECT_TRUE(ask.seeded && ask.stream && ask.include_usage && ask.echo);
  EXPECT_EQ(ask.stop, (std::vector<std::string>{"x", "y"}));
  EXPECT_EQ(ask.alternatives, 2);
  EXPECT_EQ(ask.sampling.logit_bias, (std::vector<std::pair<Token, double>>{{3, -100}}));
  EXPECT_EQ(parse_completion(parse_body("{\"prompt\": [1, 2]}"), kVocabulary).max_tokens, 16);
  const ChatAsk chat = parse_chat(
      parse_body(R"({"messages": [{"role": "developer", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}],
                     "max_completion_tokens": 7, "logprobs": true, "tools": [], "response_format": {"type": "json_schema",
                     "json_schema": {"name": "n", "strict": true, "schema": {"z": 1, "a": 2}}}})"),
      kVocabulary);
  EXPECT_EQ(chat.messages.dump(), R"([{"role":"system","content":"ab"}])");
  EXPECT_EQ(chat.max_tokens, 7);
  EXPECT_EQ(chat.alternatives, 0);
  EXPECT_EQ(chat.schema.dump(), R"({"z":1,"a":2})");  // in the client's order
}

}  // namespace
}  // namespace shoal::serve
