#include "infer/sampler.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <numeric>

#include "base/elementary.h"
#include "base/random.h"
#include "infer/exponentials.h"

namespace shoal::infer {
namespace {

constexpr double kNever = -std::numeric_limits<double>::infinity();

bool before(double a, Token token_a, double b, Token token_b) {
  return a > b || (a == b && token_a < token_b);
}

}  // namespace

double log_sum_exp(std::span<const float> logits) {
  float largest = -std::numeric_limits<float>::infinity();
  for (const float logit : logits) largest = logit > largest ? logit : largest;
  return natural_log(sum_of_exponentials(logits, largest)) + static_cast<double>(largest);
}

Sampler::Sampler(int64_t vocabulary, int64_t tokens, std::vector<Token> never)
    : tokens_(std::min(vocabulary, tokens)), never_(static_cast<size_t>(tokens_)) {
  for (const Token token : never)
    if (token >= 0 && token < tokens_) never_[static_cast<size_t>(token)] = true;
}

TokenResult Sampler::describe(std::span<const float> logits, Token token, int alternatives) {
  const double all = log_sum_exp(logits);
  const auto logprob = [&](Token of) {
    return static_cast<float>(static_cast<double>(logits[static_cast<size_t>(of)]) - all);
  };
  TokenResult result{token, logprob(token), {}};
  if (alternatives <= 0) return result;
  std::vector<Token> order(logits.size());
  std::iota(order.begin(), order.end(), 0);
  const auto count = std::min(order.size(), static_cast<size_t>(alternatives));
  std::partial_sort(order.begin(), order.begin() + static_cast<int64_t>(count), order.end(),
                    [&](Token a, Token b) {
                      return before(logits[static_cast<size_t>(a)], a, logits[static_cast<size_t>(b)], b);
                    });
  for (size_t i = 0; i < count; ++i) result.alternatives.emplace_back(order[i], logprob(order[i]));
  return result;
}

Token Sampler::greedy(std::span<const float> logits) const {
  Token best = -1;
  float largest = -std::numeric_limits<float>::infinity();
  for (Token token = 0; token < tokens_; ++token)
    if (logits[static_cast<size_t>(token)] > largest && !never_[static_cast<size_t>(token)])
      best = token, largest = logits[static_cast<size_t>(token)];
  return best;
}

// Fills logits_: what the request makes of them. Whether any token is left.
bool Sampler::adjust(std::span<const float> logits, const Sampling& sampling, const Place& place) {
  logits_.assign(logits.begin(), logits.begin() + tokens_);
  const auto known = [&](Token token) { return token >= 0 && token < tokens_; };
  if (sampling.repetition_penalty != 1) {
    std::vector<bool> seen(static_cast<size_t>(tokens_));
    for (const std::span<const Token> tokens : {place.prompt, place.answer})
      for (const Token token : tokens)
        if (known(token)) seen[static_cast<size_t>(token)] = true;
    for (size_t i = 0; i < seen.size(); ++i)
      if (seen[i])
        logits_[i] = logits_[i] > 0 ? logits_[i] / sampling.repetition_penalty
                                    : logits_[i] * sampling.repetition_penalty;
  }
  if (sampling.presence_penalty != 0 || sampling.frequency_penalty != 0) {
    std::map<Token, int64_t> counts;
    for (const Token token : place.answer) ++counts[token];
    for (const auto& [token, count] : counts)
      if (known(token))
        logits_[static_cast<size_t>(token)] -=
            sampling.presence_penalty + sampling.frequency_penalty * static_cast<double>(count);
  }
  for (const auto& [token, bias] : sampling.logit_bias)
    if (known(token)) logits_[static_cast<size_t>(token)] += bias;
  bool any = false;
  for (size_t i = 0; i < logits_.size(); ++i) {
    const bool is_allowed =
        !place.allowed || (i / 64 < place.allowed->size() && (*place.allowed)[i / 64] >> i % 64 & 1);
    if (never_[i] || !is_allowed || std::isnan(logits_[i])) logits_[i] = kNever;
    any = any || logits_[i] > kNever;
  }
  return any;
}

Token Sampler::choose(std::span<const float> logits, const Sampling& sampling, const Place& place) {
  const bool plain = sampling.repetition_penalty == 1 && sampling.presence_penalty == 0 &&
                     sampling.frequency_penalty == 0 && sampling.logit_bias.empty() && !place.allowed;
  if (sampling.temperature == 0 && plain) return greedy(logits);
  if (!adjust(logits, sampling, place)) return -1;
  if (sampling.temperature == 0)
    return static_cast<Token>(std::ranges::max_element(logits_) - logits_.begin());
  return draw(sampling, place.position);
}

// top-k, then min-p, then top-p: the likeliest of weights_ become candidates_.
void Sampler::keep_likeliest(const Sampling& sampling) {
  const auto likelier = [](const Candidate& a, const Candidate& b) {
    return before(a.logit, a.token, b.logit, b.token);
  };
  candidates_.clear();
  for (Token token = 0; token < tokens_; ++token) {
    const auto i = static_cast<size_t>(token);
    if (weights_[i] > 0 && weights_[i] >= sampling.min_p)
      candidates_.push_back({token, logits_[i], weights_[i]});
  }
  const auto sort_first = [&](size_t from, size_t to) {
    const auto at = [&](size_t i) { return candidates_.begin() + static_cast<int64_t>(i); };
    std::partial_sort(at(from), at(to), candidates_.end(), likelier);
  };
  // Who is left by min-p, where the likeliest weighs 1, is in no other order: it may as well go first.
  if (sampling.top_k > 0 && sampling.top_k < static_cast<int64_t>(candidates_.size())) {
    sort_first(0, static_cast<size_t>(sampling.top_k));
    candidates_.resize(static_cast<size_t>(sampling.top_k));
  }
  std::ranges::sort(candidates_, {}, &Candidate::token);
  if (sampling.top_p >= 1) return;
  double all = 0;
  for (const Candidate& one : candidates_) all += one.weight;
  double sum = 0;
  size_t kept = 0, sorted = 0;
  do {
    if (kept == sorted) {  // a few more in order of likelihood
      const size_t more = std::min(candidates_.size(), std::max<size_t>(64, sorted * 4));
      sort_first(sorted, more);
      sorted = more;
    }
    sum += candidates_[kept++].weight;
  } while (sum < sampling.top_p * all && kept < candidates_.size());
  candidates_.resize(kept);
  std::ranges::sort(candidates_, {}, &Candidate::token);
}

Token Sampler::draw(const Sampling& sampling, int64_t position) {
  const auto largest = std::ranges::max_element(logits_);
  if (std::isinf(*largest)) return static_cast<Token>(largest - logits_.begin());
  weights_.resize(logits_.size());
  exponentials(logits_, *largest, sampling.temperature, weights_);
  const double unit = random_unit(sampling.seed, sampling.answer, static_cast<uint64_t>(position));
  if (sampling.top_k > 0 || sampling.min_p > 0 || sampling.top_p < 1) {
    keep_likeliest(sampling);
    weights_.clear();
    for (const Candidate& one : candidates_) weights_.push_back(one.weight);
    return candidates_[drawn(unit)].token;
  }
  return static_cast<Token>(drawn(unit));
}

// Which of weights_, in their order; the last that weighs something where rounding leaves none.
size_t Sampler::drawn(double unit) const {
  double left = unit * std::accumulate(weights_.begin(), weights_.end(), 0.0);
  size_t last = 0;
  for (size_t i = 0; i < weights_.size(); ++i) {
    if ((left -= weights_[i]) < 0) return i;
    if (weights_[i] > 0) last = i;
  }
  return last;
}

}  // namespace shoal::infer
