#include "text/chat_template.h"

#include <gtest/gtest.h>

#include <chrono>

#include "shoal/error.h"
#include "support/expect_error.h"
#include "text/golden.h"

namespace shoal::text {
namespace {

using Json = nlohmann::ordered_json;

/// What it prints, or null where it refuses.
Json rendered(const std::string& source, const ChatTemplate::Inputs& inputs, std::string* refusal = nullptr) {
  try {
    return ChatTemplate(source, "template").render(inputs);
  } catch (const InputError& error) {
    if (refusal != nullptr) *refusal = error.what();
    return nullptr;
  }
}

TEST(ChatTemplate, FamiliesPrintWhatJinjaPrints) {
  const Json file = golden("chat_templates.json");
  int texts = 0;
  for (const auto& one : file["chats"]) {
    const ChatTemplate::Inputs inputs{.messages = file["messages"][one["messages"].get<size_t>()],
                                      .tools = one["tools"].get<bool>() ? file["tools"] : Json(nullptr),
                                      .add_generation_prompt = one["prompt"],
                                      .bos_token = "<s>",
                                      .eos_token = "</s>",
                                      .extra = one["extra"]};
    std::string refusal;
    EXPECT_EQ(rendered(file["families"][one["template"].get<std::string>()], inputs, &refusal), one["text"])
        << one["template"] << " " << inputs.messages << " " << one["extra"] << "\n"
        << refusal;
    texts += one["text"].is_string();
  }
  EXPECT_GT(texts, 80);
}

TEST(ChatTemplate, EachPartDoesWhatJinjaDoes) {
  const Json file = golden("chat_templates.json");
  int texts = 0;
  for (const auto& one : file["small"]) {
    std::string refusal;
    EXPECT_EQ(rendered(one["template"], {.messages = Json::array(), .extra = file["variables"]}, &refusal),
              one["text"])
        << one["template"].get<std::string>() << "\n"
        << refusal;
    texts += one["text"].is_string();
  }
  EXPECT_GT(texts, 50);
}

TEST(ChatTemplate, RefusalsNameTheLine) {
  const auto render = [](const std::string& source) {
    return ChatTemplate(source, "a.gguf").render({.messages = Json::array()});
  };
  EXPECT_ERROR(render("a\n{% if x %}"), InputError,
               "a.gguf - line 2: got the end of the template, want '{% endif %}'");
  EXPECT_ERROR(render("{% include 'x' %}"), InputError,
               "a.gguf - line 1: got 'include', want one of if, for, set, macro, call, filter, with, "
               "generation, break, continue, raw");
  EXPECT_ERROR(render("\n\n{{ a.b }}"), InputError, "a.gguf - line 3: 'a' is undefined");
  EXPECT_ERROR(render("\n{{ raise_exception('roles must alternate') }}"), InputError,
               "a.gguf - line 2: the template refuses these messages: roles must alternate");
  EXPECT_ERROR_CONTAINS(render("{{ 1 | nothing }}"),
                        "a.gguf - line 1: got the filter 'nothing', want one of abs, count, ");
}

TEST(ChatTemplate, WhatDoesNotEndIsStopped) {
  const auto begin = std::chrono::steady_clock::now();
  for (const std::string source :
       {"{% for a in range(100000) %}{% for b in range(100000) %}x{% endfor %}{% endfor %}",
        "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", "{{ 'a' * 1000000000000 }}",
        "{{ range(1000000000000) }}",
        "{% set ns = namespace(s='aaaaaaaa') %}{% for i in range(64) %}{% set ns.s = ns.s + ns.s %}{% endfor "
        "%}",
        "{% set ns = namespace(l=[1]) %}{% for i in range(64) %}{% set ns.l = [ns.l, ns.l] %}{% endfor %}{{ "
        "ns.l }}",
        "{% set ns = namespace(l=[1]) %}{% for i in range(64) %}{% set ns.l = ns.l + ns.l %}{% endfor %}"})
    EXPECT_EQ(rendered(source, {.messages = Json::array()}), nullptr) << source;
  for (const std::string part : {"(", "[", "{% if 1 %}", "not ", "-", "a+", "a.", "a|"}) {
    std::string nested = part[0] == '{' ? "" : "{{ ";
    for (int i = 0; i < 100'000; ++i) nested += part;
    EXPECT_EQ(rendered(nested, {.messages = Json::array()}), nullptr) << part;
  }
#ifdef __SANITIZE_THREAD__
  constexpr std::chrono::seconds kMost(500);
#else
  constexpr std::chrono::seconds kMost(60);
#endif
  EXPECT_LT(std::chrono::steady_clock::now() - begin, kMost);
}

TEST(ChatTemplate, KnowsTheDay) {
  const ChatTemplate day("{{ strftime_now('%d %b %Y') }}", "template");
  EXPECT_EQ(day.render({.messages = Json::array()}).size(), 11u);
}

TEST(ChatTemplate, DefaultsWork) {
  const Json messages = {{{"role", "user"}, {"content", "Hi"}}};
  EXPECT_EQ(ChatTemplate(default_chat_template(true), "default").render({.messages = messages}),
            "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n");
  EXPECT_EQ(ChatTemplate(default_chat_template(false), "default")
                .render({.messages = messages, .add_generation_prompt = false}),
            "user: Hi\n");
}

}  // namespace
}  // namespace shoal::text
