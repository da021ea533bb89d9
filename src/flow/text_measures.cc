#include "flow/text_measures.h"

#include <algorithm>
#include <array>
#include <string>
#include <vector>

#include "base/hash.h"

namespace shoal::flow {
namespace {

constexpr std::string_view kWhite = " \t\n\v\f\r";

int64_t characters(std::string_view text) {
  return std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xC0) != 0x80; });
}

double share(int64_t part, int64_t whole) {
  return whole == 0 ? 0 : static_cast<double>(part) / static_cast<double>(whole);
}

std::string_view trimmed(std::string_view text) {
  const size_t begin = text.find_first_not_of(kWhite);
  return begin == std::string_view::npos ? "" : text.substr(begin, text.find_last_not_of(kWhite) - begin + 1);
}

/// Words: runs of what is not white, as flat_map's.
template <class Give>
void each_word(std::string_view text, const Give& give) {
  for (size_t at = text.find_first_not_of(kWhite); at != std::string_view::npos;) {
    const size_t end = std::min(text.find_first_of(kWhite, at), text.size());
    give(text.substr(at, end - at));
    at = text.find_first_not_of(kWhite, end);
  }
}

std::vector<std::string_view> words_of(std::string_view text) {
  std::vector<std::string_view> words;
  each_word(text, [&](std::string_view word) { words.push_back(word); });
  return words;
}

/// What stands between runs of at least `newlines` line ends; nothing of it is empty.
std::vector<std::string_view> pieces_of(std::string_view text, size_t newlines) {
  std::vector<std::string_view> pieces;
  text = trimmed(text);
  size_t begin = 0;
  for (size_t at = text.find('\n'); at != std::string_view::npos;) {
    const size_t end = std::min(text.find_first_not_of('\n', at), text.size());
    if (end - at >= newlines) {
      pieces.push_back(text.substr(begin, at - begin));
      begin = end;
    }
    at = text.find('\n', end);
  }
  if (begin < text.size()) pieces.push_back(text.substr(begin));
  return pieces;
}

/// How often each hash was seen: open addressing, for as many as are told.
class Seen {
 public:
  explicit Seen(size_t most) {
    size_t size = 16;
    while (size < most * 2) size *= 2;
    slots_.resize(size);
  }
  int64_t add(uint64_t hash) {
    size_t at = hash & (slots_.size() - 1);
    while (slots_[at].count > 0 && slots_[at].hash != hash) at = (at + 1) & (slots_.size() - 1);
    slots_[at].hash = hash;
    return ++slots_[at].count;
  }

 private:
  struct Slot {
    uint64_t hash = 0;
    int64_t count = 0;
  };
  std::vector<Slot> slots_;
};

struct Repeated {
  int64_t pieces = 0, characters = 0;
};

/// Those that were there before.
Repeated repeated_of(const std::vector<std::string_view>& pieces) {
  Seen seen(pieces.size());
  Repeated repeated;
  for (const std::string_view piece : pieces) {
    if (seen.add(hash_bits(piece)) == 1) continue;
    ++repeated.pieces;
    repeated.characters += characters(piece);
  }
  return repeated;
}

template <size_t kNewlines>
double repeated_pieces(std::string_view text, int64_t) {
  const auto pieces = pieces_of(text, kNewlines);
  return share(repeated_of(pieces).pieces, static_cast<int64_t>(pieces.size()));
}
template <size_t kNewlines>
double repeated_characters(std::string_view text, int64_t) {
  return share(repeated_of(pieces_of(text, kNewlines)).characters, characters(text));
}

double words(std::string_view text, int64_t) {
  int64_t count = 0;
  each_word(text, [&](std::string_view) { ++count; });
  return static_cast<double>(count);
}

double unique_words(std::string_view text, int64_t) {
  const auto all = words_of(text);
  return static_cast<double>(static_cast<int64_t>(all.size()) - repeated_of(all).pieces);
}

double mean_word_length(std::string_view text, int64_t) {
  int64_t count = 0, length = 0;
  each_word(text, [&](std::string_view word) { ++count, length += characters(word); });
  return share(length, count);
}

/// n words at a time: their hash and how many characters they have.
struct Grams {
  Grams(std::string_view text, int64_t asked) : n(static_cast<size_t>(std::max<int64_t>(asked, 1))) {
    each_word(text, [&](std::string_view word) {
      hashes.push_back(hash_bits(word));
      lengths.push_back(characters(word));
    });
  }
  size_t size() const { return hashes.size() < n ? 0 : hashes.size() - n + 1; }
  uint64_t hash(size_t i) const {
    uint64_t hash = 0;
    for (size_t k = i; k < i + n; ++k) hash = (hash ^ hashes[k]) * 0x9E3779B97F4A7C15u;
    return hash ^ hash >> 32;
  }
  int64_t length(size_t i) const {
    int64_t length = 0;
    for (size_t k = i; k < i + n; ++k) length += lengths[k];
    return length;
  }
  size_t n;
  std::vector<uint64_t> hashes;
  std::vector<int64_t> lengths;
};

/// Characters of the n words that come most often, of equals those that were seen first, with the spaces
/// between them, as often as they come.
double top_ngram(std::string_view text, int64_t n) {
  const Grams grams(text, n);
  Seen seen(grams.size());
  int64_t most = 0;
  for (size_t i = 0; i < grams.size(); ++i) most = std::max(most, seen.add(grams.hash(i)));
  if (most == 0) return 0;
  Seen totals(grams.size());
  for (size_t i = 0; i < grams.size(); ++i) totals.add(grams.hash(i));
  for (size_t i = 0; i < grams.size(); ++i)  // one more than its count: it is the one
    if (totals.add(grams.hash(i)) == most + 1)
      return share((grams.length(i) + static_cast<int64_t>(grams.n) - 1) * most, characters(text));
  return 0;
}

/// Characters of n words that were there before, none counted twice.
double repeated_ngrams(std::string_view text, int64_t n) {
  const Grams grams(text, n);
  Seen seen(grams.size());
  int64_t repeated = 0;
  for (size_t i = 0; i < grams.size();) {
    const bool is_new = seen.add(grams.hash(i)) == 1;
    if (!is_new) repeated += grams.length(i);
    i += is_new ? 1 : grams.n;
  }
  return share(repeated, characters(text));
}

/// A letter: of ASCII, or what lies beyond Latin 1's signs and outside of punctuation, symbols and emoji.
bool has_letter(std::string_view word) {
  for (size_t at = 0; at < word.size(); ++at) {
    const auto c = static_cast<unsigned char>(word[at]);
    if ((c | 0x20) >= 'a' && (c | 0x20) <= 'z') return true;
    if (c < 0xC0) continue;
    uint32_t code = c < 0xE0 ? c & 0x1F : c < 0xF0 ? c & 0x0F : c & 0x07;
    for (size_t k = at + 1; k < word.size() && (word[k] & 0xC0) == 0x80; ++k)
      code = code << 6 | (static_cast<unsigned char>(word[k]) & 0x3F);
    const bool is_sign = code < 0xC0 || code == 0xD7 || code == 0xF7 || (code >= 0x2000 && code < 0x2C00) ||
                         (code >= 0x3000 && code < 0x3040) || (code >= 0xFE00 && code < 0xFE70) ||
                         (code >= 0xFF00 && code < 0xFF10) || (code >= 0x1F000 && code < 0x20000);
    if (!is_sign) return true;
  }
  return false;
}

double alphabetic_words(std::string_view text, int64_t) {
  int64_t count = 0, with = 0;
  each_word(text, [&](std::string_view word) { ++count, with += has_letter(word); });
  return share(with, count);
}

/// How many of Gopher's eight there are.
double stop_words(std::string_view text, int64_t) {
  static constexpr std::array<std::string_view, 8> kStops = {"the", "be",   "to",   "of",
                                                             "and", "that", "have", "with"};
  std::array<bool, 8> found{};
  each_word(text, [&](std::string_view word) {
    const auto at = std::find(kStops.begin(), kStops.end(), word);
    if (at != kStops.end()) found[static_cast<size_t>(at - kStops.begin())] = true;
  });
  return static_cast<double>(std::count(found.begin(), found.end(), true));
}

template <class Is>
double share_of_lines(std::string_view text, const Is& is) {
  const auto lines = pieces_of(text, 1);
  int64_t count = 0;
  for (const std::string_view line : lines) count += is(trimmed(line));
  return share(count, static_cast<int64_t>(lines.size()));
}

double bullet_lines(std::string_view text, int64_t) {
  return share_of_lines(text, [](std::string_view line) {
    return line.starts_with('-') || line.starts_with('*') || line.starts_with("\xE2\x80\xA2");
  });
}
double ellipsis_lines(std::string_view text, int64_t) {
  return share_of_lines(
      text, [](std::string_view line) { return line.ends_with("...") || line.ends_with("\xE2\x80\xA6"); });
}
double sentence_lines(std::string_view text, int64_t) {
  return share_of_lines(text, [](std::string_view line) {
    return line.ends_with('.') || line.ends_with('!') || line.ends_with('?') || line.ends_with('"') ||
           line.ends_with("\xE2\x80\x9D");
  });
}
double short_lines(std::string_view text, int64_t most) {
  return share_of_lines(text, [&](std::string_view line) { return characters(line) <= most; });
}

constexpr TextMeasure kMeasures[] = {
    {"words", true, nullptr, words},
    {"unique_words", true, nullptr, unique_words},
    {"stop_words", true, nullptr, stop_words},
    {"mean_word_length", false, nullptr, mean_word_length},
    {"alphabetic_words", false, nullptr, alphabetic_words},
    {"bullet_lines", false, nullptr, bullet_lines},
    {"ellipsis_lines", false, nullptr, ellipsis_lines},
    {"sentence_lines", false, nullptr, sentence_lines},
    {"short_lines", false, "text, 30", short_lines},
    {"repeated_lines", false, nullptr, repeated_pieces<1>},
    {"repeated_line_characters", false, nullptr, repeated_characters<1>},
    {"repeated_paragraphs", false, nullptr, repeated_pieces<2>},
    {"repeated_paragraph_characters", false, nullptr, repeated_characters<2>},
    {"top_ngram", false, "text, 2", top_ngram},
    {"repeated_ngrams", false, "text, 5", repeated_ngrams},
};

}  // namespace

std::span<const TextMeasure> text_measures() { return kMeasures; }

}  // namespace shoal::flow
