// Windows of kContext bases: what the model is trained on, and what it is asked about.
#pragma once

#include <functional>

#include "genome.h"
#include "language_model.h"

/// Each window, behind a mark, without its last base; and the window itself. I64 [windows, kContext], both.
inline shoal::Batch batch_of(const std::vector<Bases>& windows) {
  const auto all = torch::empty({std::ssize(windows), kContext + 1}, torch::kLong);
  auto* to = all.mutable_data_ptr<int64_t>();
  for (const Bases& window : windows) {
    *to++ = kNoBase;
    to = std::copy(window.begin(), window.end(), to);
  }
  return {all.slice(1, 0, kContext).contiguous(), all.slice(1, 1).contiguous()};
}

inline Bases window_at(const Genome& genome, int strand, int64_t begin) {
  const auto from = genome.strands[static_cast<size_t>(strand)].begin() + begin;
  return Bases(from, from + kContext);
}

/// Windows that lie wholly in what is trained on, of both strands, in an order without end.
class TrainingWindows {
 public:
  TrainingWindows(const Genome& genome, const std::vector<Span>& training) : genome_(genome) {
    for (const Span& span : training)
      for (int64_t at = span.begin; at + kContext <= span.end; ++at) starts_.push_back({span.strand, at});
  }
  /// A function of the number alone, whichever device asks.
  Bases operator()(int64_t number) const {
    const auto [strand, at] = starts_[bits_of(static_cast<uint64_t>(number)) % starts_.size()];
    return window_at(genome_, strand, at);
  }

 private:
  const Genome& genome_;
  std::vector<std::pair<int, int64_t>> starts_;
};

/// Asks the model about windows, all devices together, and hands the first device what it says of each: -log2
/// of the probability of each of its bases.
inline void for_each_window_bits(shoal::Trainer& trainer, GenomeModel model,
                                 const std::vector<Bases>& windows,
                                 const std::function<void(size_t window, const float* bits)>& take) {
  constexpr size_t kWindows = 32;  // asked about at once
  const auto some = [&](int64_t i) {
    std::vector<Bases> chosen;  // the last batch ends with copies: all have one shape
    for (size_t w = 0; w < kWindows; ++w)
      chosen.push_back(windows[std::min(static_cast<size_t>(i) * kWindows + w, windows.size() - 1)]);
    return batch_of(chosen);
  };
  const auto count = static_cast<int64_t>((windows.size() + kWindows - 1) / kWindows);
  trainer.predict([&](const shoal::Batch& batch) { return model(batch[0]); }, count, some,
                  [&](int64_t i, const torch::Tensor& scores) {
                    const auto bits = torch::log_softmax(scores, -1)
                                          .gather(-1, some(i)[1].unsqueeze(-1))
                                          .squeeze(-1)
                                          .mul(-1 / std::log(2.0))
                                          .contiguous();
                    for (size_t w = 0; w < kWindows; ++w)
                      if (const size_t window = static_cast<size_t>(i) * kWindows + w;
                          window < windows.size())
                        take(window, bits.const_data_ptr<float>() + static_cast<int64_t>(w) * kContext);
                  });
}
