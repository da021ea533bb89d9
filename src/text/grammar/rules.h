// A grammar while it is put together: rules, alternatives, and what characters are in bytes.
#pragma once

#include <bitset>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace shoal::text::grammar {

using ByteSet = std::bitset<256>;

struct Element {
  enum class Kind : uint8_t { kBytes, kRule, kEnd };
  Kind kind;
  int32_t index = 0;  // of the byte set, of the rule
};
using Sequence = std::vector<Element>;

/// Code points from first to last.
using Range = std::pair<char32_t, char32_t>;

class Rules {
 public:
  int32_t add() {
    alternatives_.emplace_back();
    return static_cast<int32_t>(alternatives_.size()) - 1;
  }
  void add_alternative(int32_t rule, Sequence sequence) {
    alternatives_[rule].push_back(std::move(sequence));
  }

  // What stands for these in a sequence.
  static Element rule(int32_t index) { return {Element::Kind::kRule, index}; }
  Element bytes(const ByteSet&);
  Element one_of(std::vector<Sequence> alternatives);
  Element optional(Element);
  /// At least `least`; at most `most`, or any number where that is negative.
  Element repeated(Element, int64_t least, int64_t most);
  Element characters(std::vector<Range>, bool negated);
  void append_text(Sequence&, std::string_view bytes);
  Sequence text(std::string_view bytes) {
    Sequence sequence;
    append_text(sequence, bytes);
    return sequence;
  }

  const std::vector<std::vector<Sequence>>& alternatives() const { return alternatives_; }
  const std::vector<ByteSet>& byte_sets() const { return byte_sets_; }

  /// A rule that can begin with itself, and grows on the way, or -1: a machine that reads from the left would
  /// not come to an end.
  int32_t left_recursive() const;

 private:
  std::vector<std::vector<Sequence>> alternatives_;  // by rule
  std::vector<ByteSet> byte_sets_;
  std::map<std::string, int32_t> known_sets_;
};

}  // namespace shoal::text::grammar
