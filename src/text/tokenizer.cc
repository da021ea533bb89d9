#include "text/tokenizer.h"

#include <algorithm>

#include "base/text.h"
#include "shoal/error.h"
#include "text/byte_pairs.h"
#include "text/sentence_piece.h"
#include "text/vocabulary.h"

namespace shoal::text {
namespace {

constexpr int64_t kBytes = 256;

class ByteTokenizer final : public VocabularyTokenizer {
 public:
  explicit ByteTokenizer(TokenizerSpec spec) : VocabularyTokenizer(std::move(spec)) { prepare(); }

 private:
  std::string bytes_of(const VocabularyEntry& entry) const override { return entry.text; }
  void encode_text(std::string_view text, bool /*first*/, std::vector<Token>& tokens) const override {
    for (const unsigned char byte : text) tokens.push_back(byte);
  }
};

}  // namespace

Token Tokenizer::size() const { return static_cast<Token>(spec().vocabulary.size()); }

bool Tokenizer::is_end(Token token) const {
  const auto& ends = spec().ends;
  return std::find(ends.begin(), ends.end(), token) != ends.end();
}

TokenizerSpec byte_tokenizer(int64_t vocabulary) {
  if (vocabulary < kBytes)
    throw InputError(cat("tokenizer of bytes - vocabulary: got ", vocabulary, ", want at least ", kBytes));
  TokenizerSpec spec;
  constexpr char kDigits[] = "0123456789ABCDEF";
  for (int64_t byte = 0; byte < kBytes; ++byte)
    spec.vocabulary.push_back({.text = std::string("<0x") + kDigits[byte / 16] + kDigits[byte % 16] + ">",
                               .kind = TokenKind::kByte});
  if (vocabulary > kBytes) {
    spec.vocabulary.push_back({.text = "<|end|>", .kind = TokenKind::kControl});
    spec.eos = static_cast<Token>(kBytes);
    spec.ends = {static_cast<Token>(kBytes)};
  }
  spec.vocabulary.resize(vocabulary, {.kind = TokenKind::kUnused});
  return spec;
}

std::unique_ptr<const Tokenizer> make_tokenizer(TokenizerSpec spec, const std::string& place) {
  if (spec.model == TokenizerModel::kBytes && spec.vocabulary.empty())
    spec.vocabulary = byte_tokenizer(kBytes).vocabulary;
  check_spec(spec, place);
  switch (spec.model) {
    case TokenizerModel::kBytes:
      if (spec.vocabulary.size() < kBytes)
        throw InputError(cat(place, " - vocabulary of bytes: got ", spec.vocabulary.size(),
                             " tokens, want at least ", kBytes));
      return std::make_unique<ByteTokenizer>(std::move(spec));
    case TokenizerModel::kBytePairs:
      return make_byte_pairs(std::move(spec), place);
    case TokenizerModel::kSentencePiece:
      return make_sentence_piece(std::move(spec), place);
  }
  throw InputError(
      cat(place, " - tokenizer: got a model that is none, want bytes, byte pairs or SentencePiece"));
}

}  // namespace shoal::text
