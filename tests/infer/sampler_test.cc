#include "infer/sampler.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <map>

#include "infer/exponentials.h"

namespace shoal::infer {
namespace {

const std::vector<float> kLogits = {1, 3, 2, 3, -5, 9};

Sampler sampler() { return Sampler(6, 5, {0}); }  // token 5 is beyond the tokenizer, 0 is never chosen
Sampling greedy() {
  Sampling sampling;
  sampling.temperature = 0;
  return sampling;
}

TEST(Sampler, GreedyTakesTheFirstOfEquals) {
  EXPECT_EQ(sampler().choose(kLogits, greedy(), {}), 1);
  EXPECT_EQ(sampler().choose(std::vector<float>{9, 0, 1, 2, 0, 9}, greedy(), {}), 3);
}

TEST(Sampler, PenaltiesAndBiases) {
  const std::vector<Token> prompt = {1}, answer = {3, 3};
  const Sampler::Place place{.prompt = prompt, .answer = answer};
  Sampling sampling = greedy();
  sampling.repetition_penalty = 2;  // of 1 and 3: half
  EXPECT_EQ(sampler().choose(kLogits, sampling, place), 2);
  sampling = greedy();
  sampling.presence_penalty = 0.5;  // of the answer alone
  EXPECT_EQ(sampler().choose(kLogits, sampling, place), 1);
  sampling.logit_bias = {{1, -1}};
  sampling.presence_penalty = 0, sampling.frequency_penalty = 0.75;  // 3 - 2 * 0.75 is below 2
  EXPECT_EQ(sampler().choose(kLogits, sampling, place), 1);          // 1 and 2 are equal now
  sampling.logit_bias = {{1, -1.5}};
  EXPECT_EQ(sampler().choose(kLogits, sampling, place), 2);
}

TEST(Sampler, AGrammarAllowsSome) {
  const std::vector<uint64_t> allowed = {0b10101};
  EXPECT_EQ(sampler().choose(kLogits, greedy(), {.allowed = &allowed}), 2);
  const std::vector<uint64_t> none = {0b100001};  // those that may never be
  EXPECT_EQ(sampler().choose(kLogits, greedy(), {.allowed = &none}), -1);
}

TEST(Sampler, WhatIsNoNumberIsNotChosen) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  EXPECT_EQ(sampler().choose(std::vector<float>(6, nan), greedy(), {}), -1);
  EXPECT_EQ(sampler().choose(std::vector<float>(6, nan), Sampling{}, {}), -1);
}

// How often each token comes, of n draws.
std::map<Token, int> draws(const Sampling& base, int n) {
  std::map<Token, int> counts;
  Sampler one = sampler();
  for (int i = 0; i < n; ++i) ++counts[one.choose(kLogits, base, {.position = i})];
  return counts;
}

TEST(Sampler, DrawsAsOftenAsIsLikely) {
  Sampling sampling;
  sampling.temperature = 0.7;
  const int n = 20000;
  const auto counts = draws(sampling, n);
  double all = 0;
  const auto weight = [&](Token token) { return std::exp((kLogits[static_cast<size_t>(token)] - 3) / 0.7); };
  for (Token token = 1; token < 5; ++token) all += weight(token);
  for (Token token = 1; token < 5; ++token) {
    const double p = weight(token) / all, found = counts.contains(token) ? counts.at(token) : 0;
    EXPECT_NEAR(found / n, p, 5 * std::sqrt(p * (1 - p) / n) + 1e-9) << token;
  }
}

TEST(Sampler, KeepsTheLikeliest) {
  Sampling sampling;
  sampling.temperature = 10;
  sampling.top_k = 1;  // of equals the lower id
  EXPECT_EQ(draws(sampling, 200).size(), 1u);
  EXPECT_TRUE(draws(sampling, 200).contains(1));
  sampling.top_k = 2;
  EXPECT_EQ(draws(sampling, 200).size(), 2u);
  sampling.top_k = 0, sampling.top_p = 0.3;  // 1 alone has about 0.29
  EXPECT_EQ(draws(sampling, 200).size(), 2u);
  sampling.top_p = 0;
  EXPECT_EQ(draws(sampling, 200).size(), 1u);
  sampling.top_p = 1, sampling.min_p = 0.95;  // exp(-0.1) is below
  EXPECT_EQ(draws(sampling, 200).size(), 2u);
}

TEST(Sampler, ADrawDependsOnSeedAnswerAndPositionAlone) {
  Sampler one = sampler(), other = sampler();
  Sampling sampling;
  sampling.temperature = 5;
  std::vector<Token> first, again, second;
  for (int64_t i = 0; i < 50; ++i) first.push_back(one.choose(kLogits, sampling, {.position = i}));
  for (int64_t i = 50; i-- > 0;)
    again.insert(again.begin(), other.choose(kLogits, sampling, {.position = i}));
  EXPECT_EQ(first, again);
  sampling.answer = 1;
  for (int64_t i = 0; i < 50; ++i) second.push_back(one.choose(kLogits, sampling, {.position = i}));
  EXPECT_NE(first, second);
}

TEST(Sampler, ExponentialsAreExact) {
  std::vector<double> x, found;
  for (int i = 0; i < 60000; ++i) x.push_back(-0.001 * i);
  x.push_back(-61), x.push_back(-std::numeric_limits<double>::infinity()), x.push_back(std::nan(""));
  found.resize(x.size());
  exponentials(x, 0, 1, found);
  for (int i = 0; i < 60000; ++i)
    ASSERT_NEAR(found[static_cast<size_t>(i)] / std::exp(x[static_cast<size_t>(i)]), 1, 1e-15) << i;
  for (size_t i = 60000; i < x.size(); ++i) EXPECT_EQ(found[i], 0);
  std::vector<float> logits;
  long double sum = 0;
  for (int i = 0; i < 1003; ++i) {
    logits.push_back(3 - 0.0125f * static_cast<float>(i));
    sum += std::exp(static_cast<long double>(logits.back()) - 3);
  }
  EXPECT_NEAR(sum_of_exponentials(logits, 3) / static_cast<double>(sum), 1, 1e-15);
}

TEST(Sampler, DescribesTheModelsOwnDistribution) {
  const TokenResult result = sampler().describe(kLogits, 2, 3);
  double sum = 0;
  for (const float logit : kLogits) sum += std::exp(static_cast<double>(logit));
  EXPECT_FLOAT_EQ(result.logprob, static_cast<float>(2 - std::log(sum)));
  ASSERT_EQ(result.alternatives.size(), 3u);
  EXPECT_EQ(result.alternatives[0].first, 5);
  EXPECT_EQ(result.alternatives[1].first, 1);  // of equals the lower id
  EXPECT_EQ(result.alternatives[2].first, 3);
  EXPECT_EQ(result.alternatives[1].second, result.alternatives[2].second);
}

}  // namespace
}  // namespace shoal::infer
