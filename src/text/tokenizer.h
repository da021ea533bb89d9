// Text to tokens and back, as the model's own tokenizer does it: bytes; byte-level byte pairs (Radford et
// al., "Language models are unsupervised multitask learners", 2019); SentencePiece's byte pairs (Kudo and
// Richardson, "SentencePiece", 2018), as Llama 2 has them. docs/tokenizers.md says what each does.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace shoal::text {

using Token = int32_t;

enum class TokenKind : uint8_t {
  kNormal,
  kUnknown,
  kControl,      // <|im_start|>: not text; parsed only where asked for, and left out of what people read
  kUserDefined,  // text that is never taken apart
  kUnused,       // never to be sampled
  kByte          // <0x0A>: one byte
};

struct VocabularyEntry {
  std::string text;  // as the file writes it: of byte pairs in GPT-2's alphabet, of SentencePiece with U+2581
  float score = 0;   // of SentencePiece's merges: the higher goes first
  TokenKind kind = TokenKind::kNormal;
};

enum class TokenizerModel : uint8_t { kBytes, kBytePairs, kSentencePiece };

/// What a file says of its tokenizer, whatever the file's format.
struct TokenizerSpec {
  TokenizerModel model = TokenizerModel::kBytes;
  std::vector<VocabularyEntry> vocabulary;  // by id; kBytes needs none
  // The first goes first. SentencePiece without them takes the scores, as its own files do.
  std::vector<std::pair<std::string, std::string>> merges;
  std::vector<std::string> splits;  // of byte pairs: regular expressions that cut text into words, in turn
  bool split_digits = false;        // each digit is a word by itself, before `splits`
  bool ignore_merges = false;       // a word that is a token is taken whole (Llama 3)
  bool normalize_nfc = false;       // Unicode normal form C before all else (Qwen)
  bool add_space_prefix = false;    // of SentencePiece: text begins as if after a space...
  bool space_prefix_once = false;   // ... but not what follows a special token in the text
  bool add_bos = false, add_eos = false;  // what encode adds where special tokens are asked for
  std::optional<Token> bos, eos, unknown, padding;
  std::vector<Token> ends;  // tokens that end an answer (eos, end of turn), each once
};

struct EncodeOptions {
  bool add_special = false;    // bos and eos, as the file says
  bool parse_special = false;  // "<|im_end|>" in the text becomes that token; else it is text like any other
};

/// Immutable: any number of threads may use one at once.
class Tokenizer {
 public:
  virtual ~Tokenizer() = default;
  /// Any bytes: what is no UTF-8 is encoded as each original does it (docs/tokenizers.md), never refused.
  virtual std::vector<Token> encode(std::string_view text, const EncodeOptions& = {}) const = 0;
  /// The bytes that the token stands for where it follows others; "" for control tokens unless `special`.
  /// REQUIRES: 0 <= token < size().
  virtual std::string piece(Token, bool special = false) const = 0;
  /// The text of a whole answer: the pieces, without the space that the first begins with where the
  /// model's encode had put it there (add_space_prefix).
  virtual std::string decode(std::span<const Token>, bool special = false) const = 0;
  virtual const TokenizerSpec& spec() const = 0;
  Token size() const;
  bool is_end(Token) const;
};

/// Throws InputError, which begins with `place`, where the spec contradicts itself.
std::unique_ptr<const Tokenizer> make_tokenizer(TokenizerSpec, const std::string& place);

/// 256 tokens, each a byte, and 256 as the end: what `shoal data` writes and our recipes train on, where the
/// model's vocabulary is that large.
TokenizerSpec byte_tokenizer(int64_t vocabulary);

/// As GGUF names the way a vocabulary of byte pairs cuts text (tokenizer.ggml.pre): "gpt-2", "llama-bpe",
/// "qwen2", "smollm"... sets `splits` and the flags. Throws InputError for names that it does not know.
void set_pre_tokenizer(TokenizerSpec&, const std::string& name, const std::string& place);

/// Adds to `ends` the eos and the control tokens that end a turn or a text in the known families
/// ("<|im_end|>",
/// "<|eot_id|>", "<end_of_turn>"...), each once: files seldom list them all.
void add_known_ends(TokenizerSpec&);

/// From Hugging Face's tokenizer.json and, where it is not empty, tokenizer_config.json (the files'
/// contents). Throws InputError for what is not supported, with the part of the file named.
TokenizerSpec parse_tokenizer_json(const std::string& tokenizer_json, const std::string& tokenizer_config,
                                   const std::string& place);

/// A token's bytes may end inside of a character: takes pieces, gives whole characters out.
class Utf8Stream {
 public:
  /// What can be shown now: all but an unfinished character at the end; bytes that can be no character become
  /// U+FFFD.
  std::string add(std::string_view bytes);
  /// What is left, as U+FFFD where it is unfinished.
  std::string finish();

 private:
  std::string rest_;
};

}  // namespace shoal::text
