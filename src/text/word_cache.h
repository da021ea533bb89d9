// The tokens of words met lately: most of a text is the same few thousand words.
#pragma once

#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>
#include <vector>

#include "text/tokenizer.h"

namespace shoal::text {

/// Each word has one place, and whoever comes last has it; long words and words of many tokens have none. Not
/// thread-safe.
class WordCache {
 public:
  WordCache() : entries_(kEntries) {}

  /// False where the word is not here; else its tokens are appended.
  bool find(std::string_view word, std::vector<Token>& tokens) const {
    if (word.size() > kWordBytes) return false;
    const Entry& entry = entries_[place(word)];
    if (entry.bytes != word.size() || std::memcmp(entry.word, word.data(), word.size()) != 0) return false;
    tokens.insert(tokens.end(), entry.tokens, entry.tokens + entry.count);
    return true;
  }

  void keep(std::string_view word, std::span<const Token> tokens) {
    if (word.size() > kWordBytes || word.empty() || tokens.size() > kTokens) return;
    Entry& entry = entries_[place(word)];
    entry.bytes = static_cast<uint8_t>(word.size());
    entry.count = static_cast<uint8_t>(tokens.size());
    std::memcpy(entry.word, word.data(), word.size());
    std::memcpy(entry.tokens, tokens.data(), tokens.size_bytes());
  }

 private:
  static constexpr size_t kEntries = 1 << 14, kWordBytes = 30, kTokens = 8;
  struct Entry {
    uint8_t bytes = 0, count = 0;
    char word[kWordBytes] = {};
    Token tokens[kTokens] = {};
  };

  static size_t place(std::string_view word) {
    uint64_t hash = word.size();
    for (size_t at = 0; at < word.size(); at += 8) {
      uint64_t eight = 0;
      std::memcpy(&eight, word.data() + at, word.size() - at < 8 ? word.size() - at : 8);
      hash = (hash ^ eight) * 0x9E3779B97F4A7C15u;
      hash ^= hash >> 32;
    }
    return hash & (kEntries - 1);
  }

  std::vector<Entry> entries_;
};

}  // namespace shoal::text
