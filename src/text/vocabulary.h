// What tokenizers with a vocabulary have in common: special tokens in the text, bos and eos, and the way
// back.
#pragma once

#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "text/byte_trie.h"
#include "text/tokenizer.h"

namespace shoal::text {

/// Throws InputError where ids are none, or what encode shall add is missing.
void check_spec(const TokenizerSpec&, const std::string& place);

/// The tokens that text may become, by their text; of equal ones, the first.
std::unordered_map<std::string_view, Token> tokens_by_text(const TokenizerSpec&);

class VocabularyTokenizer : public Tokenizer {
 public:
  explicit VocabularyTokenizer(TokenizerSpec);
  std::vector<Token> encode(std::string_view text, const EncodeOptions&) const final;
  std::string piece(Token, bool special) const final;
  std::string decode(std::span<const Token>, bool special) const final;
  const TokenizerSpec& spec() const final { return spec_; }

 protected:
  /// What a token of the kind kNormal or kUserDefined stands for.
  virtual std::string bytes_of(const VocabularyEntry&) const = 0;
  /// Text without special tokens, of any bytes; not empty. `first`: nothing stood before it.
  virtual void encode_text(std::string_view, bool first, std::vector<Token>&) const = 0;
  /// Whether to look for user-defined tokens before encode_text, in the text as it is.
  virtual bool user_defined_in_text() const { return true; }
  /// To be called by the constructor of the class that defines these.
  void prepare();

 private:
  const TokenizerSpec spec_;
  std::vector<std::string> pieces_;  // by id; of control tokens ""
  ByteTrie always_, with_control_;   // tokens to look for, without and with parse_special
};

}  // namespace shoal::text
