#include "text/vocabulary.h"

#include "base/text.h"
#include "shoal/error.h"

namespace shoal::text {
namespace {

/// The byte of "<0x0A>", or -1.
int byte_of(std::string_view text) {
  const auto digit = [](char c) {
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
                                  : -1;
  };
  if (text.size() != 6 || !text.starts_with("<0x") || text[5] != '>') return -1;
  const int high = digit(text[3]), low = digit(text[4]);
  return high < 0 || low < 0 ? -1 : 16 * high + low;
}

void check_id(std::optional<Token> id, const char* name, const TokenizerSpec& spec,
              const std::string& place) {
  if (id && (*id < 0 || static_cast<size_t>(*id) >= spec.vocabulary.size()))
    throw InputError(cat(place, " - ", name, ": got token ", *id, ", want one below ", spec.vocabulary.size(),
                         ", the size of the vocabulary"));
}

}  // namespace

void check_spec(const TokenizerSpec& spec, const std::string& place) {
  if (spec.vocabulary.empty())
    throw InputError(cat(place, " - vocabulary: got no tokens, want at least one"));
  check_id(spec.bos, "bos", spec, place);
  check_id(spec.eos, "eos", spec, place);
  check_id(spec.unknown, "unknown", spec, place);
  check_id(spec.padding, "padding", spec, place);
  for (const Token end : spec.ends) check_id(end, "ends", spec, place);
  if (spec.add_bos && !spec.bos)
    throw InputError(cat(place, " - add_bos: got true without a bos token, want one"));
  if (spec.add_eos && !spec.eos)
    throw InputError(cat(place, " - add_eos: got true without an eos token, want one"));
  for (size_t i = 0; i < spec.vocabulary.size(); ++i)
    if (spec.vocabulary[i].kind == TokenKind::kByte && byte_of(spec.vocabulary[i].text) < 0)
      throw InputError(cat(place, " - vocabulary, token ", i, ": got '", spec.vocabulary[i].text,
                           "' as a byte, want the form <0x0A>"));
}

std::unordered_map<std::string_view, Token> tokens_by_text(const TokenizerSpec& spec) {
  std::unordered_map<std::string_view, Token> tokens;
  tokens.reserve(spec.vocabulary.size());
  for (size_t i = 0; i < spec.vocabulary.size(); ++i) {
    const auto& entry = spec.vocabulary[i];
    if (entry.kind == TokenKind::kNormal || entry.kind == TokenKind::kUserDefined ||
        entry.kind == TokenKind::kUnused)
      tokens.emplace(entry.text, static_cast<Token>(i));
  }
  return tokens;
}

VocabularyTokenizer::VocabularyTokenizer(TokenizerSpec spec) : spec_(std::move(spec)) {}

void VocabularyTokenizer::prepare() {
  std::vector<std::pair<std::string, int32_t>> always, with_control;
  for (size_t i = 0; i < spec_.vocabulary.size(); ++i) {
    const auto& entry = spec_.vocabulary[i];
    const auto id = static_cast<Token>(i);
    const bool control = entry.kind == TokenKind::kControl || entry.kind == TokenKind::kUnknown;
    const bool user_defined = entry.kind == TokenKind::kUserDefined && user_defined_in_text();
    if (user_defined) always.emplace_back(entry.text, id);
    if (control || user_defined) with_control.emplace_back(entry.text, id);
    if (control)
      pieces_.emplace_back();
    else if (entry.kind == TokenKind::kByte)
      pieces_.emplace_back(1, static_cast<char>(byte_of(entry.text)));
    else
      pieces_.push_back(bytes_of(entry));
  }
  always_ = ByteTrie(std::move(always));
  with_control_ = ByteTrie(std::move(with_control));
}

std::vector<Token> VocabularyTokenizer::encode(std::string_view text, const EncodeOptions& options) const {
  std::vector<Token> tokens;
  if (options.add_special && spec_.add_bos) tokens.push_back(*spec_.bos);
  const ByteTrie& special = options.parse_special ? with_control_ : always_;
  size_t begin = 0;
  if (!special.empty())
    for (size_t at = 0; at < text.size();) {
      const auto match =
          special.begins(static_cast<unsigned char>(text[at])) ? special.longest(text, at) : std::nullopt;
      if (!match) {
        ++at;
        continue;
      }
      if (at > begin) encode_text(text.substr(begin, at - begin), begin == 0, tokens);
      tokens.push_back(match->value);
      begin = at += match->bytes;
    }
  if (begin < text.size()) encode_text(text.substr(begin), begin == 0, tokens);
  if (options.add_special && spec_.add_eos) tokens.push_back(*spec_.eos);
  return tokens;
}

std::string VocabularyTokenizer::piece(Token token, bool special) const {
  const auto& entry = spec_.vocabulary[token];
  const bool control = entry.kind == TokenKind::kControl || entry.kind == TokenKind::kUnknown;
  return special && control ? entry.text : pieces_[token];
}

std::string VocabularyTokenizer::decode(std::span<const Token> tokens, bool special) const {
  std::string text;
  bool first = spec_.add_space_prefix;
  for (const Token token : tokens) {
    const std::string bytes = piece(token, special);
    const TokenKind kind = spec_.vocabulary[token].kind;
    const bool strip = first && kind != TokenKind::kControl && bytes.starts_with(' ');
    if (kind != TokenKind::kControl) first = false;
    text.append(bytes, strip ? 1 : 0);
  }
  return text;
}

}  // namespace shoal::text
