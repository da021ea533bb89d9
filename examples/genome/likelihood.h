// What a model says of the held-out bases and of substitutions, in bits. A model here is anything that gives
// -log2 of the probability of each base of a window.
#pragma once

#include "markov.h"
#include "variants.h"
#include "windows.h"

/// The questions, asked all at once.
struct Questions {
  /// One stretch of held-out bases: `count` of a window, from `first` on.
  struct Stretch {
    size_t window;
    int64_t first, count;
    int strand;
    int64_t at;  // of the strand
  };
  std::vector<Bases> windows;
  std::vector<Stretch> held_out;
};

constexpr int64_t kBefore = kContext / 2;  // bases that a window has before what is scored

/// Every held-out base once on each strand, with at least half a window before it.
inline void ask_held_out(Questions& questions, const Genome& genome, const std::vector<Span>& held_out) {
  for (const Span& span : held_out)
    for (int64_t at = span.begin; at < span.end; at += kContext - kBefore) {
      const int64_t begin = std::clamp<int64_t>(at - kBefore, 0, genome.size() - kContext);
      const int64_t count = std::min(kContext - kBefore, span.end - at);
      questions.held_out.push_back({questions.windows.size(), at - begin, count, span.strand, at});
      questions.windows.push_back(window_at(genome, span.strand, begin));
    }
}

/// Four windows for a variant, in this order: each strand, as it was and as it becomes. The changed base
/// stands at kBefore.
inline void ask_variant(Questions& questions, const Genome& genome, const Variant& variant) {
  for (int strand = 0; strand < 2; ++strand) {
    const int64_t at = genome.forward_position(strand, variant.position);  // its own inverse
    Bases window = window_at(genome, strand, at - kBefore);
    questions.windows.push_back(window);
    window[kBefore] = strand == 0 ? variant.to : static_cast<uint8_t>(3 - variant.to);
    questions.windows.push_back(window);
  }
}

/// Whether both windows of a variant lie within the genome.
inline bool can_ask(const Genome& genome, const Variant& variant) {
  return variant.position >= kContext && variant.position < genome.size() - kContext;
}

/// Bits for each base of each question's window.
using Answers = std::vector<std::vector<float>>;

inline Answers answers_of(const Markov& markov, const Questions& questions) {
  Answers answers;
  for (const Bases& window : questions.windows) {
    auto& bits = answers.emplace_back();
    for (int64_t at = 0; at < kContext; ++at) bits.push_back(static_cast<float>(markov.bits(window, at)));
  }
  return answers;
}

inline double bits_per_base(const Questions& questions, const Answers& answers) {
  double sum = 0, bases = 0;
  for (const auto& stretch : questions.held_out)
    for (int64_t i = 0; i < stretch.count; ++i, ++bases)
      sum += answers[stretch.window][static_cast<size_t>(stretch.first + i)];
  return sum / bases;
}

/// log2 of how much likelier the changed sequence is, the mean of both strands; below 0: less likely. `first`
/// is the variant's first window.
inline double log_ratio(const Answers& answers, size_t first) {
  double ratio = 0;
  for (const size_t strand : {0, 1})
    for (size_t at = kBefore; at < kContext; ++at)
      ratio += (answers[first + 2 * strand][at] - answers[first + 2 * strand + 1][at]) / 2;
  return ratio;
}

/// Of all pairs, the part in which the first is below the second; a half: no telling apart.
inline double part_below(const std::vector<double>& first, const std::vector<double>& second) {
  double below = 0;
  for (const double a : first)
    for (const double b : second) below += a < b ? 1 : a == b ? 0.5 : 0;
  return below / static_cast<double>(first.size() * second.size());
}
