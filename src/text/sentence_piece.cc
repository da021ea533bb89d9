#include "text/sentence_piece.h"

#include <algorithm>
#include <array>

#include "base/text.h"
#include "shoal/error.h"
#include "text/merges.h"
#include "text/pool.h"
#include "text/utf8.h"
#include "text/vocabulary.h"
#include "text/word_cache.h"

namespace shoal::text {
namespace {

constexpr std::string_view kSpace = "\xE2\x96\x81";  // U+2581

std::string replaced(std::string_view text, std::string_view from, std::string_view to) {
  std::string out;
  for (size_t at = 0; at < text.size();) {
    const size_t found = std::min(text.find(from, at), text.size());
    out.append(text, at, found - at);
    if (found < text.size()) out += to;
    at = found + from.size();
  }
  return out;
}

class SentencePieceTokenizer final : public VocabularyTokenizer {
 public:
  SentencePieceTokenizer(TokenizerSpec spec, const std::string& place)
      : VocabularyTokenizer(std::move(spec)), by_text_(tokens_by_text(this->spec())), merges_(0) {
    of_byte_.fill(-1);
    std::vector<std::pair<std::string, int32_t>> user_defined;
    const auto& vocabulary = this->spec().vocabulary;
    for (size_t i = 0; i < vocabulary.size(); ++i) {
      const auto id = static_cast<Token>(i);
      if (vocabulary[i].kind == TokenKind::kUserDefined) user_defined.emplace_back(vocabulary[i].text, id);
      if (vocabulary[i].kind == TokenKind::kByte)
        of_byte_[std::stoi(vocabulary[i].text.substr(3, 2), nullptr, 16)] = id;
    }
    user_defined_ = ByteTrie(std::move(user_defined));
    falls_back_ = std::none_of(of_byte_.begin(), of_byte_.end(), [](Token token) { return token < 0; });
    if (!falls_back_ && !this->spec().unknown)
      throw InputError(cat(place,
                           " - vocabulary: got neither a token for each byte nor an unknown token, want one "
                           "of both, for characters without a token"));
    unknown_symbol_ = symbol_count_ = static_cast<int32_t>(vocabulary.size());
    ++symbol_count_;
    this->spec().merges.empty() ? merges_of_scores() : merges_of_list(place);
    prepare();
  }

 private:
  struct Scratch {
    WordCache cache;
    Merger merger;
    std::vector<int32_t> symbols;
    std::vector<uint32_t> ends;  // of the symbols, where they are not tokens
  };

  /// The symbol of a text: its token, or, for a character that is only part of tokens, one that is none.
  int32_t symbol(std::string_view text, bool whole_character) {
    const auto found = by_text_.find(text);
    if (found != by_text_.end()) return found->second;
    if (!whole_character) return -1;
    const auto [extra, added] = extra_.emplace(std::string(text), symbol_count_);
    if (added) ++symbol_count_, extra_text_.push_back(extra->first);
    return extra->second;
  }

  void merges_of_scores() {
    struct Way {
      int32_t left, right, result;
    };
    std::vector<Way> ways;
    std::vector<Token> order;  // tokens by falling scores
    const auto& vocabulary = spec().vocabulary;
    for (const auto& [text, id] : by_text_) order.push_back(id);
    std::sort(order.begin(), order.end(), [&](Token a, Token b) {
      return vocabulary[a].score != vocabulary[b].score ? vocabulary[a].score > vocabulary[b].score : a < b;
    });
    std::vector<uint32_t> rank(vocabulary.size());
    for (size_t i = 0; i < order.size(); ++i)
      rank[order[i]] = i > 0 && vocabulary[order[i]].score == vocabulary[order[i - 1]].score
                           ? rank[order[i - 1]]
                           : static_cast<uint32_t>(i);
    for (const Token id : order) {
      const std::string_view text = vocabulary[id].text;
      if (vocabulary[id].kind == TokenKind::kUserDefined) continue;
      for (size_t at = 0; at < text.size();) {
        const size_t first = at;
        at += character_at(text, at).bytes;
        if (at == text.size()) break;
        const int32_t left = symbol(text.substr(0, at), first == 0);
        const int32_t right = symbol(text.substr(at), at + character_at(text, at).bytes == text.size());
        if (left >= 0 && right >= 0) ways.push_back({left, right, id});
      }
    }
    merges_ = MergeTable(ways.size());
    for (const Way& way : ways) {
      merges_.set(way.left, way.right, {rank[way.result], way.result});
      if (vocabulary[way.result].kind == TokenKind::kUnused) taken_apart_[way.result] = {way.left, way.right};
    }
    find_borders();
  }

  void merges_of_list(const std::string& place) {
    const auto& merges = spec().merges;
    merges_ = MergeTable(merges.size());
    for (size_t rank = 0; rank < merges.size(); ++rank) {
      const auto& [left, right] = merges[rank];
      const auto token = [&](const std::string& text) {
        const auto found = by_text_.find(text);
        if (found == by_text_.end())
          throw InputError(cat(place, " - merges, number ", rank + 1, " ('", left, "' and '", right,
                               "'): got '", text, "', want a token of the vocabulary"));
        return found->second;
      };
      merges_.set(token(left), token(right), {static_cast<uint32_t>(rank), token(left + right)});
    }
    find_borders();
  }

  /// Where no token has a space behind something else, nothing grows over the border before a space: words
  /// can be merged one at a time, and those met before need not be.
  void find_borders() {
    borders_ = true;
    for (const auto& [text, id] : by_text_) {
      if (spec().vocabulary[id].kind == TokenKind::kUserDefined) continue;
      size_t at = 0;
      while (text.substr(at).starts_with(kSpace)) at += kSpace.size();
      if (text.find(kSpace, at) != std::string_view::npos) borders_ = false;
    }
  }

  bool user_defined_in_text() const override { return false; }  // spaces first become U+2581
  std::string bytes_of(const VocabularyEntry& entry) const override {
    return replaced(entry.text, kSpace, " ");
  }

  void encode_text(std::string_view text, bool first, std::vector<Token>& tokens) const override {
    std::string normal =
        spec().add_space_prefix && (first || !spec().space_prefix_once) ? std::string(kSpace) : "";
    if (is_utf8(text))
      normal += replaced(text, " ", kSpace);
    else
      normal += replaced(
          replace_malformed(text, spec().merges.empty() ? Replace::kEachByte : Replace::kEachBeginning), " ",
          kSpace);
    Pool<Scratch>::Lease scratch(scratch_);
    const std::string_view all = normal;
    bool after_unknown = false;
    size_t begin = 0;
    for (size_t at = 0; at < all.size();) {
      const auto byte = static_cast<unsigned char>(all[at]);
      if (const auto match = user_defined_.begins(byte) ? user_defined_.longest(all, at) : std::nullopt) {
        encode_word(all.substr(begin, at - begin), *scratch, tokens, after_unknown);
        tokens.push_back(match->value);
        after_unknown = false;
        begin = at += match->bytes;
        continue;
      }
      if (borders_ && at > begin && all.substr(at).starts_with(kSpace) &&
          !all.substr(0, at).ends_with(kSpace)) {
        encode_word(all.substr(begin, at - begin), *scratch, tokens, after_unknown);
        begin = at;
      }
      at += character_at(all, at).bytes;
    }
    encode_word(all.substr(begin), *scratch, tokens, after_unknown);
  }

  /// `after_unknown`: the last token is the unknown one, for text just before; those that follow go into it.
  void encode_word(std::string_view word, Scratch& scratch, std::vector<Token>& tokens,
                   bool& after_unknown) const {
    if (word.empty()) return;
    if (falls_back_ && scratch.cache.find(word, tokens)) return;
    const size_t before = tokens.size();
    auto& symbols = scratch.symbols;
    symbols.clear();
    unknown_characters(scratch, word);
    scratch.merger.merge(symbols, merges_);
    size_t next_unknown = 0;
    for (const int32_t symbol : symbols) give(symbol, scratch, word, next_unknown, tokens, after_unknown);
    if (falls_back_) scratch.cache.keep(word, {tokens.data() + before, tokens.size() - before});
  }

  /// The word's characters as symbols; where those that are none lie goes to `ends`.
  void unknown_characters(Scratch& scratch, std::string_view word) const {
    scratch.ends.clear();
    for (size_t at = 0; at < word.size();) {
      const size_t bytes = character_at(word, at).bytes;
      const std::string_view text = word.substr(at, bytes);
      at += bytes;
      int32_t id = unknown_symbol_;
      if (const auto found = by_text_.find(text); found != by_text_.end())
        id = found->second;
      else if (const auto extra = extra_.find(std::string(text)); extra != extra_.end())
        id = extra->second;
      if (id == unknown_symbol_) scratch.ends.push_back(static_cast<uint32_t>(at));
      scratch.symbols.push_back(id);
    }
  }

  void give(int32_t symbol, const Scratch& scratch, std::string_view word, size_t& next_unknown,
            std::vector<Token>& tokens, bool& after_unknown) const {
    std::string_view text;
    if (symbol < unknown_symbol_) {
      if (const auto parts = taken_apart_.find(symbol); parts != taken_apart_.end()) {
        give(parts->second.first, scratch, word, next_unknown, tokens, after_unknown);
        give(parts->second.second, scratch, word, next_unknown, tokens, after_unknown);
        return;
      }
      after_unknown = false;
      tokens.push_back(symbol);
      return;
    }
    if (symbol == unknown_symbol_) {
      const size_t end = scratch.ends[next_unknown++];
      size_t begin = end - 1;
      while ((static_cast<unsigned char>(word[begin]) & 0xC0) == 0x80) --begin;
      text = word.substr(begin, end - begin);
    } else {
      text = extra_text_[symbol - unknown_symbol_ - 1];
    }
    if (falls_back_) {
      for (const unsigned char byte : text) tokens.push_back(of_byte_[byte]);
      return;
    }
    if (!after_unknown) tokens.push_back(*spec().unknown);
    after_unknown = true;
  }

  const std::unordered_map<std::string_view, Token> by_text_;
  MergeTable merges_;
  ByteTrie user_defined_;
  std::array<Token, 256> of_byte_;
  bool falls_back_ = false, borders_ = false;
  int32_t unknown_symbol_ = 0, symbol_count_ = 0;  // symbols: tokens, the unknown one, then extra_
  std::unordered_map<std::string, int32_t> extra_;
  std::vector<std::string> extra_text_;
  std::unordered_map<int32_t, std::pair<int32_t, int32_t>> taken_apart_;  // tokens that are not to be used
  mutable Pool<Scratch> scratch_;
};

}  // namespace

std::unique_ptr<const Tokenizer> make_sentence_piece(TokenizerSpec spec, const std::string& place) {
  return std::make_unique<SentencePieceTokenizer>(std::move(spec), place);
}

}  // namespace shoal::text
