// What the model has to beat: the next base by the k before it, counted.
#pragma once

#include <cmath>

#include "genome.h"

/// Order k, each order smoothed toward the one below, down to one in four:
/// p_k(b | context) = (count(context b) + weight * p_{k-1}(b | context)) / (count(context) + weight).
class Markov {
 public:
  /// Counts within the spans.
  Markov(const Genome& genome, const std::vector<Span>& spans, int order, double weight)
      : order_(order), weight_(weight), counts_(static_cast<size_t>(order) + 1) {
    for (size_t k = 0; k < counts_.size(); ++k) counts_[k].resize(size_t{1} << (2 * k));
    for (const Span& span : spans)
      for (int64_t at = span.begin; at < span.end; ++at)
        for (int k = 0; k <= order && k <= at - span.begin; ++k)
          counts_[static_cast<size_t>(k)][context(genome.strands[static_cast<size_t>(span.strand)], at, k)]
                 [genome.strands[static_cast<size_t>(span.strand)][static_cast<size_t>(at)]] += 1;
  }

  /// -log2 of the probability of the base at `at`.
  double bits(const Bases& bases, int64_t at) const {
    double p = 0.25;
    for (int k = 0; k <= order_ && k <= at; ++k) {
      const auto& seen = counts_[static_cast<size_t>(k)][context(bases, at, k)];
      p = (seen[bases[static_cast<size_t>(at)]] + weight_ * p) /
          (seen[0] + seen[1] + seen[2] + seen[3] + weight_);
    }
    return -std::log2(p);
  }

 private:
  /// The k bases before `at` as a number.
  static size_t context(const Bases& bases, int64_t at, int k) {
    size_t number = 0;
    for (int64_t i = at - k; i < at; ++i) number = number * 4 + bases[static_cast<size_t>(i)];
    return number;
  }

  int order_;
  double weight_;
  std::vector<std::vector<std::array<double, 4>>> counts_;  // by k, then by context
};

inline double mean_bits(const Markov& markov, const Genome& genome, const std::vector<Span>& spans) {
  double sum = 0, bases = 0;
  for (const Span& span : spans)
    for (int64_t at = span.begin; at < span.end; ++at, ++bases)
      sum += markov.bits(genome.strands[static_cast<size_t>(span.strand)], at);
  return sum / bases;
}

/// The weight that does best on every third of the training spans, counted in the others; then counted in
/// all.
inline Markov fit_markov(const Genome& genome, const std::vector<Span>& training, int order) {
  // A block of one strand is the same block of the other, so both are on one side.
  std::vector<Span> counted, compared;
  for (const Span& span : training)
    (genome.forward_position(span.strand, span.begin + (span.end - span.begin) / 2) / (5 * kBlock) % 3 == 1
         ? compared
         : counted)
        .push_back(span);
  double best_weight = 1, best_bits = 1e9;
  for (double weight = 1; weight <= 1024; weight *= 2)
    if (const double bits = mean_bits(Markov(genome, counted, order, weight), genome, compared);
        bits < best_bits)
      best_bits = bits, best_weight = weight;
  return Markov(genome, training, order, best_weight);
}
