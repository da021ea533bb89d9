#include "base/text.h"
#include "formats/ends.h"
#include "formats/gguf_config.h"
#include "formats/shown.h"
#include "shoal/error.h"

namespace shoal::formats {
namespace {

using text::Token;
using text::TokenKind;

TokenKind kind_of(int64_t number, const std::string& place) {
  static constexpr TokenKind kKinds[] = {TokenKind::kNormal,      TokenKind::kUnknown, TokenKind::kControl,
                                         TokenKind::kUserDefined, TokenKind::kUnused,  TokenKind::kByte};
  if (number < 1 || number > 6)
    throw InputError(cat(place, " - tokenizer.ggml.token_type: got ", number, ", want 1 to 6"));
  return kKinds[number - 1];
}

void check_count(size_t got, int64_t want, const char* key, const std::string& place) {
  if (static_cast<int64_t>(got) != want)
    throw InputError(cat(place, " - ", key, ": got ", got, " entries, want ", want, ", one for each token"));
}

void read_merges(const GgufFile& file, text::TokenizerSpec& spec) {
  constexpr const char* kKey = "tokenizer.ggml.merges";
  const auto merges = file.texts(kKey);
  if (!merges)
    throw InputError(cat(file.place(), " - ", kKey, ": is missing, want the merges of byte pairs"));
  spec.merges.reserve(merges->size());
  for (const std::string& merge : *merges) {
    const size_t space = merge.find(' ', 1);  // a piece may be a space itself
    if (space == std::string::npos || space + 1 == merge.size())
      throw InputError(
          cat(file.place(), " - ", kKey, ": got ", shown(merge), ", want two pieces with a space between"));
    spec.merges.emplace_back(merge.substr(0, space), merge.substr(space + 1));
  }
}

}  // namespace

text::TokenizerSpec gguf_tokenizer(const GgufFile& file, int64_t vocabulary) {
  const std::string& place = file.place();
  text::TokenizerSpec spec;
  const std::string model = file.text("tokenizer.ggml.model").value_or("");
  const bool is_byte_pairs = model == "gpt2";
  if (!is_byte_pairs && model != "llama")
    throw InputError(cat(place, " - tokenizer.ggml.model: got ", shown(model),
                         ", want gpt2 (byte pairs) or llama (SentencePiece)"));
  auto tokens = file.texts("tokenizer.ggml.tokens").value_or(std::vector<std::string>());
  check_count(tokens.size(), vocabulary, "tokenizer.ggml.tokens", place);
  for (std::string& token : tokens) spec.vocabulary.push_back({std::move(token)});
  if (const auto kinds = file.integers("tokenizer.ggml.token_type")) {
    check_count(kinds->size(), vocabulary, "tokenizer.ggml.token_type", place);
    for (size_t i = 0; i < kinds->size(); ++i) spec.vocabulary[i].kind = kind_of((*kinds)[i], place);
  }
  if (const auto scores = file.reals("tokenizer.ggml.scores")) {
    check_count(scores->size(), vocabulary, "tokenizer.ggml.scores", place);
    for (size_t i = 0; i < scores->size(); ++i) spec.vocabulary[i].score = (*scores)[i];
  } else if (!is_byte_pairs) {
    throw InputError(cat(place, " - tokenizer.ggml.scores: is missing, want a number for each token"));
  }

  if (is_byte_pairs) {
    spec.model = text::TokenizerModel::kBytePairs;
    read_merges(file, spec);
    text::set_pre_tokenizer(spec, file.text("tokenizer.ggml.pre").value_or("default"), place);
  } else {
    spec.model = text::TokenizerModel::kSentencePiece;
    spec.add_space_prefix = spec.add_bos = true;  // unless the file says otherwise
  }
  spec.add_space_prefix = file.flag("tokenizer.ggml.add_space_prefix").value_or(spec.add_space_prefix);
  spec.add_bos = file.flag("tokenizer.ggml.add_bos_token").value_or(spec.add_bos);
  spec.add_eos = file.flag("tokenizer.ggml.add_eos_token").value_or(spec.add_eos);

  const auto special = [&](const char* name) -> std::optional<Token> {
    const std::string key = cat("tokenizer.ggml.", name, "_token_id");
    const auto id = file.integer(key);
    if (!id || *id == 0xFFFFFFFF || *id == -1) return std::nullopt;  // how some files say "none"
    if (*id < 0 || *id >= vocabulary)
      throw InputError(cat(place, " - ", key, ": got ", *id, ", want a token from 0 to ", vocabulary - 1));
    return static_cast<Token>(*id);
  };
  spec.bos = special("bos");
  spec.eos = special("eos");
  spec.unknown = special("unknown");
  spec.padding = special("padding");
  std::vector<int64_t> ends;
  for (const char* const name : {"eos", "eot", "eom"})
    if (const auto token = special(name)) ends.push_back(*token);
  add_ends(spec, ends);
  return spec;
}

}  // namespace shoal::formats
