// The ways to cut text into words, by the names that GGUF has for them: a table.
#include <algorithm>
#include <array>
#include <string>
#include <string_view>

#include "base/text.h"
#include "shoal/error.h"
#include "text/tokenizer.h"

namespace shoal::text {
namespace {

// The expressions are those of the families' own tokenizer.json files.
#define CONTRACTIONS "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
#define SPACES "\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
#define UPPER "[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]"
#define LOWER "[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]"
constexpr const char* kGpt2 =
    "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";
constexpr const char* kLlama3 =
    CONTRACTIONS "|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|" SPACES;
constexpr const char* kQwen2 =
    CONTRACTIONS "|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|" SPACES;
constexpr const char* kTekken = "[^\\r\\n\\p{L}\\p{N}]?" UPPER "*" LOWER "+|[^\\r\\n\\p{L}\\p{N}]?" UPPER
                                "+" LOWER "*|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|" SPACES;
constexpr const char* kGpt4o =
    "[^\\r\\n\\p{L}\\p{N}]?" UPPER "*" LOWER "+" CONTRACTIONS "?|[^\\r\\n\\p{L}\\p{N}]?" UPPER "+" LOWER
    "*" CONTRACTIONS "?|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|" SPACES;
constexpr const char* kDeepSeek3 =
    "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\\r\\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+|"
    " ?[\\p{P}\\p{S}]+[\\r\\n]*|" SPACES;
#undef CONTRACTIONS
#undef SPACES
#undef UPPER
#undef LOWER

struct PreTokenizer {
  const char* name;
  std::array<const char*, 4> splits;
  bool split_digits = false, ignore_merges = false, normalize_nfc = false;
};

constexpr PreTokenizer kPreTokenizers[] = {
    // What files say that were written before GGUF had names.
    {.name = "default",
     .splits = {"[\\p{P}\\$\\+<=>\\^~\\|]+",
                "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)", "\\p{N}+",
                "[0-9][0-9][0-9]"}},
    {.name = "gpt-2", .splits = {kGpt2}},
    {.name = "llama-bpe", .splits = {kLlama3}, .ignore_merges = true},
    {.name = "llama3", .splits = {kLlama3}, .ignore_merges = true},
    {.name = "llama-v3", .splits = {kLlama3}, .ignore_merges = true},
    {.name = "qwen2", .splits = {kQwen2}, .normalize_nfc = true},
    {.name = "deepseek-r1-qwen", .splits = {kQwen2}},
    {.name = "smollm", .splits = {kGpt2}, .split_digits = true},
    {.name = "starcoder", .splits = {kGpt2}, .split_digits = true},
    {.name = "refact", .splits = {kGpt2}, .split_digits = true},
    {.name = "codeshell", .splits = {kGpt2}, .split_digits = true},
    {.name = "tekken", .splits = {kTekken}, .ignore_merges = true},
    {.name = "gpt-4o", .splits = {kGpt4o}},
    {.name = "deepseek-coder",
     .splits = {"[\\r\\n]", "\\s?\\p{L}+", "\\s?\\p{P}+",
                "[\\x{4E00}-\\x{9FA5}\\x{0800}-\\x{4E00}\\x{AC00}-\\x{D7FF}]+"},
     .split_digits = true},
    {.name = "deepseek-v3",
     .splits = {"\\p{N}{1,3}", "[\\x{4E00}-\\x{9FA5}\\x{3040}-\\x{309F}\\x{30A0}-\\x{30FF}]+", kDeepSeek3}},
};

constexpr std::string_view kKnownEnds[] = {
    "<|im_end|>",
    "<|endoftext|>",
    "<|eot_id|>",
    "<|eom_id|>",
    "<|end_of_text|>",
    "<end_of_turn>",
    "<|end|>",
    "<|eot|>",
    "<|end_of_turn|>",
    "</s>",
    "<|return|>",
    "<|call|>",
    "<\xEF\xBD\x9C"
    "end\xE2\x96\x81of\xE2\x96\x81sentence\xEF\xBD\x9C>"};  // DeepSeek's

}  // namespace

void set_pre_tokenizer(TokenizerSpec& spec, const std::string& name, const std::string& place) {
  std::vector<std::string> names;
  for (const auto& known : kPreTokenizers) {
    names.emplace_back(known.name);
    if (name != known.name) continue;
    spec.splits.clear();
    for (const char* split : known.splits)
      if (split != nullptr) spec.splits.emplace_back(split);
    spec.split_digits = known.split_digits;
    spec.ignore_merges = known.ignore_merges;
    spec.normalize_nfc = known.normalize_nfc;
    return;
  }
  throw InputError(cat(place, " - tokenizer.ggml.pre: got '", name, "', want one of ", join(names, ", ")));
}

void add_known_ends(TokenizerSpec& spec) {
  const auto add = [&](Token token) {
    if (std::find(spec.ends.begin(), spec.ends.end(), token) == spec.ends.end()) spec.ends.push_back(token);
  };
  if (spec.eos) add(*spec.eos);
  for (size_t i = 0; i < spec.vocabulary.size(); ++i)
    if (spec.vocabulary[i].kind == TokenKind::kControl &&
        std::find(std::begin(kKnownEnds), std::end(kKnownEnds), spec.vocabulary[i].text) !=
            std::end(kKnownEnds))
      add(static_cast<Token>(i));
}

}  // namespace shoal::text
