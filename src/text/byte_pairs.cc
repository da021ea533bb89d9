#include "text/byte_pairs.h"

#include <array>

#include "base/text.h"
#include "shoal/error.h"
#include "text/merges.h"
#include "text/normal_form.h"
#include "text/pool.h"
#include "text/utf8.h"
#include "text/vocabulary.h"
#include "text/word_cache.h"
#include "text/word_splitter.h"

namespace shoal::text {
namespace {

/// By byte. Those that print in Latin 1 are themselves; the others follow from U+0100 on, in order.
std::array<char32_t, 256> make_alphabet() {
  std::array<char32_t, 256> alphabet{};
  char32_t next = 0x100;
  for (int byte = 0; byte < 256; ++byte) {
    const bool prints = (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
    alphabet[byte] = prints ? static_cast<char32_t>(byte) : next++;
  }
  return alphabet;
}
const std::array<char32_t, 256> kAlphabet = make_alphabet();

/// By character, up to the last of the alphabet; -1: not of it.
std::array<int16_t, 0x144> make_inverse() {
  std::array<int16_t, 0x144> inverse{};
  inverse.fill(-1);
  for (int byte = 0; byte < 256; ++byte) inverse[kAlphabet[byte]] = static_cast<int16_t>(byte);
  return inverse;
}
const std::array<int16_t, 0x144> kInverse = make_inverse();

class BytePairTokenizer final : public VocabularyTokenizer {
 public:
  BytePairTokenizer(TokenizerSpec spec, const std::string& place)
      : VocabularyTokenizer(std::move(spec)),
        by_text_(tokens_by_text(this->spec())),
        merges_(listed_merges(this->spec(), by_text_, place)),
        splitter_(word_expressions(this->spec()), place) {
    for (int byte = 0; byte < 256; ++byte) {
      std::string text;
      append_utf8(text, kAlphabet[byte]);
      const auto found = by_text_.find(text);
      of_byte_[byte] = found == by_text_.end() ? -1 : found->second;
    }
    if (this->spec().ignore_merges)
      for (const auto& [text, id] : by_text_) whole_words_.emplace(bytes_of_alphabet(text), id);
    prepare();
  }

 private:
  struct Scratch {
    WordCache cache;
    WordSplitter::Scratch splitter;
    Merger merger;
    std::vector<int32_t> symbols;
    std::string whole;
  };

  std::string bytes_of(const VocabularyEntry& entry) const override {
    return entry.kind == TokenKind::kUserDefined ? entry.text : bytes_of_alphabet(entry.text);
  }

  void encode_text(std::string_view text, bool /*first*/, std::vector<Token>& tokens) const override {
    std::string replaced, normal;
    if (!is_utf8(text)) text = replaced = replace_malformed(text, Replace::kEachBeginning);
    if (spec().normalize_nfc) text = normal = normal_form_c(text);
    Pool<Scratch>::Lease scratch(scratch_);
    tokens.reserve(tokens.size() + text.size() / 3);
    splitter_.split(text, scratch->splitter,
                    [&](std::string_view word) { encode_word(word, *scratch, tokens); });
  }

  void encode_word(std::string_view word, Scratch& scratch, std::vector<Token>& tokens) const {
    if (scratch.cache.find(word, tokens)) return;
    const size_t before = tokens.size();
    if (!whole_word(word, scratch, tokens)) {
      scratch.symbols.clear();
      for (const unsigned char byte : word)
        if (of_byte_[byte] >= 0)
          scratch.symbols.push_back(of_byte_[byte]);
        else if (spec().unknown)
          scratch.symbols.push_back(*spec().unknown);
      scratch.merger.merge(scratch.symbols, merges_);
      tokens.insert(tokens.end(), scratch.symbols.begin(), scratch.symbols.end());
    }
    scratch.cache.keep(word, {tokens.data() + before, tokens.size() - before});
  }

  bool whole_word(std::string_view word, Scratch& scratch, std::vector<Token>& tokens) const {
    if (!spec().ignore_merges) return false;
    scratch.whole = word;
    const auto found = whole_words_.find(scratch.whole);
    if (found == whole_words_.end()) return false;
    tokens.push_back(found->second);
    return true;
  }

  const std::unordered_map<std::string_view, Token> by_text_;
  std::unordered_map<std::string, Token> whole_words_;  // by their bytes
  std::array<Token, 256> of_byte_;
  MergeTable merges_;
  WordSplitter splitter_;
  mutable Pool<Scratch> scratch_;
};

}  // namespace

std::vector<std::string> word_expressions(const TokenizerSpec& spec) {
  std::vector<std::string> all;
  if (spec.split_digits) all.push_back("\\p{N}");
  all.insert(all.end(), spec.splits.begin(), spec.splits.end());
  return all;
}

std::string alphabet_of_bytes(std::string_view bytes) {
  std::string text;
  for (const char byte : bytes) append_utf8(text, kAlphabet[static_cast<unsigned char>(byte)]);
  return text;
}

std::string bytes_of_alphabet(std::string_view text) {
  std::string bytes;
  for (size_t at = 0; at < text.size();) {
    const Character character = character_at(text, at);
    const int16_t byte = character.state == CharacterState::kWhole && character.code < kInverse.size()
                             ? kInverse[character.code]
                             : -1;
    if (byte >= 0)
      bytes += static_cast<char>(byte);
    else
      bytes.append(text, at, character.bytes);
    at += character.bytes;
  }
  return bytes;
}

std::unique_ptr<const Tokenizer> make_byte_pairs(TokenizerSpec spec, const std::string& place) {
  return std::make_unique<BytePairTokenizer>(std::move(spec), place);
}

}  // namespace shoal::text
