// Byte pair encoding proper: which neighbours become one, and in which order. A word of n symbols takes
// O(n log n), whatever it is.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "text/tokenizer.h"

namespace shoal::text {

/// Two symbols, from 0 on, as one number.
inline uint64_t pair_of(int32_t left, int32_t right) {
  return static_cast<uint64_t>(static_cast<uint32_t>(left)) << 32 | static_cast<uint32_t>(right);
}

/// What becomes of pairs of symbols. Immutable once filled.
class MergeTable {
 public:
  struct Merge {
    uint32_t rank;   // the lower goes first; of equals, the leftmost
    int32_t result;  // a symbol
  };

  explicit MergeTable(size_t num_merges);
  /// A pair that comes again replaces what was said before. REQUIRES: left, right >= 0; at most num_merges.
  void set(int32_t left, int32_t right, Merge);
  const Merge* find(int32_t left, int32_t right) const;

 private:
  struct Entry {
    uint64_t pair = kEmpty;
    Merge merge{};
  };
  static constexpr uint64_t kEmpty = ~uint64_t{0};
  size_t place(uint64_t pair) const;
  std::vector<Entry> entries_;  // open addressing, a power of two, at most half full
};

/// What the spec lists, the first with rank 0. Throws InputError, which begins with `place`, where a pair or what it
/// becomes is no token of `by_text`.
MergeTable listed_merges(const TokenizerSpec&, const std::unordered_map<std::string_view, Token>& by_text,
                         const std::string& place);

/// Merges the symbols of one word in place. Its memory is kept for the next word.
class Merger {
 public:
  void merge(std::vector<int32_t>& symbols, const MergeTable&);

 private:
  struct Symbol {
    int32_t id;
    int32_t before, after;  // its neighbours that are left, or -1
    uint32_t units;         // how many of the word's first symbols it consists of; 0: it went into another
  };
  struct Candidate {
    uint64_t order;  // rank, then place
    uint32_t units;  // of both: another number tells that one has changed since
    int32_t result;
  };
  void consider(int32_t left, const MergeTable&);
  std::vector<Symbol> symbols_;
  std::vector<Candidate> heap_;
};

}  // namespace shoal::text
