#include "text/bpe_trainer.h"

#include <algorithm>
#include <queue>
#include <set>
#include <unordered_map>

#include "base/shown.h"
#include "base/text.h"
#include "shoal/error.h"
#include "text/byte_pairs.h"
#include "text/merges.h"

namespace shoal::text {
namespace {

constexpr int64_t kBytes = 256;
constexpr int64_t kMostTokens = 1 << 24;

struct Word {
  std::vector<int32_t> symbols;
  int64_t count;
};

/// The pairs of all words, and which of them comes most often.
class Learner {
 public:
  explicit Learner(const std::vector<std::pair<std::string, int64_t>>& words) {
    for (int64_t byte = 0; byte < kBytes; ++byte) add_token(std::string(1, static_cast<char>(byte)));
    for (const auto& [text, count] : words) {
      Word word{{}, count};
      for (const char c : text) word.symbols.push_back(static_cast<unsigned char>(c));
      if (word.symbols.size() < 2) continue;
      words_.push_back(std::move(word));
      count_pairs(words_.size() - 1, +1);
    }
    for (const uint64_t pair : touched_) offer(pair);
    touched_.clear();
  }

  int64_t size() const { return static_cast<int64_t>(texts_.size()); }
  const std::vector<std::string>& texts() const { return texts_; }

  /// The next merge; false where no pair comes twice.
  bool merge(std::pair<int32_t, int32_t>& merged) {
    while (!best_.empty()) {
      const Candidate candidate = best_.top();
      best_.pop();
      Pair& pair = pairs_[candidate.pair];
      if (pair.count != candidate.count || pair.count < 2) continue;  // it has changed: it was offered anew
      merged = {left_of(candidate.pair), right_of(candidate.pair)};
      const int32_t result =
          add_token(texts_[static_cast<size_t>(merged.first)] + texts_[static_cast<size_t>(merged.second)]);
      const std::vector<uint32_t> places = std::move(pair.words);
      pair.words.clear();
      for (const uint32_t word : places) rewrite(word, merged, result);
      std::sort(touched_.begin(), touched_.end());
      touched_.erase(std::unique(touched_.begin(), touched_.end()), touched_.end());
      for (const uint64_t touched : touched_) offer(touched);
      touched_.clear();
      return true;
    }
    return false;
  }

 private:
  struct Pair {
    int64_t count = 0;
    std::vector<uint32_t> words;  // that have it, or had it
  };
  struct Candidate {
    int64_t count;
    uint64_t pair;
  };
  struct IsWorse {
    const Learner& learner;
    bool operator()(const Candidate& a, const Candidate& b) const {
      if (a.count != b.count) return a.count < b.count;
      const int left = learner.text(left_of(a.pair)).compare(learner.text(left_of(b.pair)));
      if (left != 0) return left > 0;
      return learner.text(right_of(a.pair)) > learner.text(right_of(b.pair));
    }
  };

  static int32_t left_of(uint64_t pair) { return static_cast<int32_t>(pair >> 32); }
  static int32_t right_of(uint64_t pair) { return static_cast<int32_t>(pair); }
  const std::string& text(int32_t token) const { return texts_[static_cast<size_t>(token)]; }

  /// The token of the text: two ways may lead to one.
  int32_t add_token(const std::string& text) {
    const auto [found, is_new] = ids_.emplace(text, static_cast<int32_t>(texts_.size()));
    if (is_new) texts_.push_back(text);
    return found->second;
  }

  void count_pairs(size_t w, int64_t sign) {
    const Word& word = words_[w];
    for (size_t i = 0; i + 1 < word.symbols.size(); ++i) {
      const uint64_t key = pair_of(word.symbols[i], word.symbols[i + 1]);
      Pair& pair = pairs_[key];
      pair.count += sign * word.count;
      if (sign > 0 && (pair.words.empty() || pair.words.back() != w))
        pair.words.push_back(static_cast<uint32_t>(w));
      touched_.push_back(key);
    }
  }

  void rewrite(uint32_t w, const std::pair<int32_t, int32_t>& merged, int32_t result) {
    std::vector<int32_t>& symbols = words_[w].symbols;
    bool is_there = false;
    for (size_t i = 0; i + 1 < symbols.size() && !is_there; ++i)
      is_there = symbols[i] == merged.first && symbols[i + 1] == merged.second;
    if (!is_there) return;
    count_pairs(w, -1);
    size_t kept = 0;
    for (size_t i = 0; i < symbols.size(); ++kept) {
      const bool is_pair =
          i + 1 < symbols.size() && symbols[i] == merged.first && symbols[i + 1] == merged.second;
      symbols[kept] = is_pair ? result : symbols[i];
      i += is_pair ? 2 : 1;
    }
    symbols.resize(kept);
    count_pairs(w, +1);
  }

  void offer(uint64_t key) {
    const int64_t count = pairs_[key].count;
    if (count >= 2) best_.push({count, key});
  }

  std::vector<std::string> texts_;  // by token
  std::unordered_map<std::string, int32_t> ids_;
  std::vector<Word> words_;
  std::unordered_map<uint64_t, Pair> pairs_;
  std::vector<uint64_t> touched_;
  std::priority_queue<Candidate, std::vector<Candidate>, IsWorse> best_{IsWorse{*this}};
};

}  // namespace

void check_training(const BpeTraining& training, const std::string& place) {
  const auto special = static_cast<int64_t>(training.special.size());
  if (training.vocabulary < kBytes + special || training.vocabulary > kMostTokens)
    throw InputError(cat(place, ": vocabulary: got ", training.vocabulary, ", want at least ",
                         kBytes + special, " (256 bytes and ", special, " special tokens) and at most ",
                         kMostTokens));
  std::set<std::string> seen;
  for (const std::string& text : training.special)
    if (text.size() < 2 || !seen.insert(text).second)
      throw InputError(
          cat(place, ": special: got '", plain(text), "', want at least two characters, each token once"));
  TokenizerSpec spec;
  set_pre_tokenizer(spec, training.pattern, place);
}

TokenizerSpec train_byte_pairs(const std::vector<std::pair<std::string, int64_t>>& words,
                               const BpeTraining& training, const std::string& place) {
  check_training(training, place);
  TokenizerSpec spec;
  spec.model = TokenizerModel::kBytePairs;
  set_pre_tokenizer(spec, training.pattern, place);
  Learner learner(words);
  const int64_t wanted = training.vocabulary - static_cast<int64_t>(training.special.size());
  std::pair<int32_t, int32_t> merged;
  while (learner.size() < wanted && learner.merge(merged))
    spec.merges.emplace_back(alphabet_of_bytes(learner.texts()[static_cast<size_t>(merged.first)]),
                             alphabet_of_bytes(learner.texts()[static_cast<size_t>(merged.second)]));
  for (const std::string& text : learner.texts())
    spec.vocabulary.push_back({.text = alphabet_of_bytes(text)});
  for (const std::string& text : training.special)
    spec.vocabulary.push_back({.text = text, .kind = TokenKind::kControl});
  if (!training.special.empty()) {
    spec.eos = static_cast<Token>(learner.size());
    spec.ends = {*spec.eos};
  }
  return spec;
}

}  // namespace shoal::text
