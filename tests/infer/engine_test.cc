#include "infer/engine.h"

#include <thread>

#include "infer/support.h"

namespace shoal::infer {
namespace {

using formats::Architecture;
using formats::WeightType;

EngineOptions small_options() {
  EngineOptions options;
  options.batch_tokens = 24, options.batch_requests = 8;
  return options;
}

TEST(Engine, ScoresOfAPromptAreThoseOfItsAnswer) {
  const TinyFile file(Architecture::kLlama, WeightType::kQ4_1);
  Engine engine(file.path(), small_options());
  EXPECT_TRUE(engine.state().ready);
  const Answer first = answer_of(ask(engine, greedy_request({1, 2, 3}, 30)));
  EXPECT_EQ(first.finish, Finish::kLength);
  ASSERT_EQ(first.tokens.size(), 30u);
  Request again = greedy_request({1, 2, 3}, 0);
  for (const TokenResult& one : first.tokens) again.prompt.push_back(one.token);
  again.prompt_logprobs = true;
  const Answer scored = answer_of(ask(engine, again));
  ASSERT_EQ(scored.prompt.size(), 32u);
  EXPECT_EQ(bits({scored.prompt.begin() + 2, scored.prompt.end()}), bits(first.tokens));
  EXPECT_TRUE(scored.tokens.empty());
  const EngineState state = engine.state();
  EXPECT_EQ(state.finished, 2);
  EXPECT_EQ(state.cache_used, 0);
}

TEST(Engine, BeginningsAreSharedAndChangeNothing) {
  const TinyFile file(Architecture::kLlama, WeightType::kF32);
  Engine engine(file.path(), small_options());
  std::mt19937 random(1);
  const std::vector<Token> prompt = random_tokens(random, 50);
  const std::string first = bits(answer_of(ask(engine, greedy_request(prompt, 8))));
  EXPECT_EQ(bits(answer_of(ask(engine, greedy_request(prompt, 8)))), first);
  EXPECT_EQ(engine.state().prompt_tokens_shared, 48);
}

TEST(Engine, EndsWhereItIsToldTo) {
  const TinyFile file(Architecture::kGpt2, WeightType::kF32);
  Engine engine(file.path(), small_options());
  const Answer all = answer_of(ask(engine, greedy_request({5}, 12)));
  Request stops = greedy_request({5}, 12);
  stops.stop_tokens = {all.tokens[2].token};
  const Answer some = answer_of(ask(engine, stops));
  EXPECT_EQ(some.finish, Finish::kStop);
  EXPECT_EQ(some.tokens.back().token, all.tokens[2].token);
  EXPECT_LE(some.tokens.size(), 3u);
  EXPECT_EQ(answer_of(ask(engine, greedy_request({5}, 0))).finish, Finish::kLength);
  // A prompt as long as the context still has one token to come.
  EXPECT_EQ(answer_of(ask(engine, greedy_request(std::vector<Token>(96, 5), 1))).tokens.size(), 1u);
}

TEST(Engine, CancelledRequestsEnd) {
  const TinyFile file(Architecture::kLlama, WeightType::kF32);
  Engine engine(file.path(), small_options());
  std::promise<Finish> ended;
  std::atomic<uint64_t> id{0};
  std::atomic<int> tokens{0};
  id = engine.submit(greedy_request({1}, 90),
                     {.token =
                          [&](const TokenResult&) {
                            if (++tokens == 3) {
                              while (id == 0) std::this_thread::yield();
                              engine.cancel(id);
                            }
                          },
                      .finished = [&](Finish finish, const std::string&) { ended.set_value(finish); }});
  EXPECT_EQ(ended.get_future().get(), Finish::kCancelled);
  EXPECT_LT(tokens, 90);
  engine.cancel(id);
  engine.cancel(12345);
  EXPECT_EQ(answer_of(ask(engine, greedy_request({1}, 2))).finish, Finish::kLength);
}

TEST(Engine, TheEndCancelsWhatRuns) {
  const TinyFile file(Architecture::kLlama, WeightType::kF32);
  std::vector<Asked> asked;
  {
    Engine engine(file.path(), small_options());
    for (int i = 0; i < 20; ++i) asked.push_back(ask(engine, greedy_request({1}, 90)));
  }
  for (Asked& one : asked) EXPECT_EQ(answer_of(std::move(one)).finish, Finish::kCancelled);
}

TEST(Engine, EmbeddingsHaveLengthOneAndTheSameBits) {
  const TinyFile file(Architecture::kLlama, WeightType::kQ4_1);
  std::mt19937 random(1);
  const std::vector<Token> tokens = random_tokens(random, 70);
  std::vector<float> first;
  for (const int64_t tp : {1, 2}) {
    EngineOptions options = small_options();
    options.tp = tp, options.batch_tokens = tp == 1 ? 24 : 64;
    Engine engine(file.path(), options);
    const std::vector<float> state = engine.embed(tokens);
    ASSERT_EQ(state.size(), 64u);
    double square = 0;
    for (const float element : state) square += static_cast<double>(element) * element;
    EXPECT_NEAR(square, 1, 1e-5);
    if (tp == 1) first = state;
    EXPECT_EQ(state, first);
  }
}

TEST(Engine, AGrammarHoldsAnAnswer) {
  const TinyFile file(Architecture::kLlama, WeightType::kF32);
  text::TokenizerSpec spec = formats::open_model(file.path())->tokenizer();
  spec.merges.clear();  // the tiny vocabulary has none of what they make
  const auto tokenizer = text::make_tokenizer(spec, "tiny");
  Request request = greedy_request({1, 2}, 20);
  request.grammar = text::parse_gbnf("root ::= \"AB\" [CD] \"A\"", *tokenizer);
  request.stop_tokens = spec.ends;
  for (const int64_t tp : {1, 2}) {
    EngineOptions options = small_options();
    options.tp = tp;
    Engine engine(file.path(), options);
    const Answer answer = answer_of(ask(engine, request));
    std::string text;
    for (const TokenResult& one : answer.tokens) text += tokenizer->piece(one.token);
    EXPECT_TRUE(text == "ABCA" || text == "ABDA") << text;
    EXPECT_EQ(answer.finish, Finish::kStop);
  }
}

TEST(Engine, WhatCannotBeIsRefused) {
  const TinyFile file(Architecture::kLlama, WeightType::kF32);
  EngineOptions options;
  options.tp = 0;
  EXPECT_ERROR(Engine(file.path(), options), InputError, "engine - tp: got 0, want at least 1");
  options.tp = 1, options.pp = 5;
  EXPECT_ERROR(Engine(file.path(), options), InputError,
               file.path() + " - layout: got pp=5, want at most the model's 4 layers");
  options.pp = 1, options.threads = 2;
  EXPECT_ERROR(Engine(file.path(), options), InputError,
               "engine - threads: got 2, want 1; more cores are more devices (tp), which give the same bits");
  Engine engine(file.path(), small_options());
  EXPECT_ERROR(engine.submit({}, {}), InputError, "request - prompt: got no tokens, want at least 1");
  EXPECT_ERROR(engine.submit({.prompt = {40}}, {}), InputError,
               "request - prompt: got token 40, want 0 to 39");
  EXPECT_ERROR(engine.submit({.prompt = {1}, .max_tokens = 97}, {}), InputError,
               "request - length: got a prompt of 1 tokens and an answer of up to 97, want at most the "
               "context of 96 together");
  Request request{.prompt = {1}};
  request.sampling.temperature = -1;
  EXPECT_ERROR(engine.submit(request, {}), InputError, "request - temperature: got -1, want 0 to 1e+06");
}

}  // namespace
}  // namespace shoal::infer
