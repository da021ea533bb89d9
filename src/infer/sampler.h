// Which token comes next, from a row of logits: a function of the logits, the request and the tokens so far
// alone. Sums go in order of ids, in fp64, with an exponential and a logarithm of our own
// (base/elementary.h), so that every machine decides alike.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "infer/engine.h"

namespace shoal::infer {

/// Of one model: which of its tokens may ever be chosen. Belongs to one thread.
class Sampler {
 public:
  /// `tokens`: that the tokenizer has; `never`: those of them that no answer contains.
  Sampler(int64_t vocabulary, int64_t tokens, std::vector<Token> never);

  /// What the model itself makes of `token` at this place, with the likeliest `alternatives`.
  /// REQUIRES: logits.size() == vocabulary.
  TokenResult describe(std::span<const float> logits, Token token, int alternatives);

  struct Place {
    std::span<const Token> prompt, answer;           // what stands before
    int64_t position = 0;                            // of the token in the answer: the number of the draw
    const std::vector<uint64_t>* allowed = nullptr;  // of a grammar
  };
  /// The next token, or -1 where the logits are no numbers, or nothing is allowed.
  Token choose(std::span<const float> logits, const Sampling&, const Place&);

 private:
  Token greedy(std::span<const float> logits) const;
  bool adjust(std::span<const float> logits, const Sampling&, const Place&);
  Token draw(const Sampling&, int64_t position);
  void keep_likeliest(const Sampling&);
  size_t drawn(double unit) const;

  struct Candidate {
    Token token;
    double logit, weight;
  };
  int64_t tokens_;
  std::vector<bool> never_;
  std::vector<double> logits_;  // after penalties and biases
  std::vector<double> weights_;
  std::vector<Candidate> candidates_;
};

/// The logarithm of the sum of exp(logits[i]).
double log_sum_exp(std::span<const float> logits);

}  // namespace shoal::infer
