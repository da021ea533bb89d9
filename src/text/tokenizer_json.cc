// tokenizer.json of Hugging Face's tokenizers (https://huggingface.co/docs/tokenizers): the parts that say
// what a TokenizerSpec can say. Each function takes one part; what is not known is refused by name.
#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/text.h"
#include "shoal/error.h"
#include "text/tokenizer.h"

namespace shoal::text {
namespace {

using nlohmann::json;

struct Parts {
  const json& file;
  const json& config;  // tokenizer_config.json, or an empty object
  const std::string& place;
  TokenizerSpec spec;
  bool byte_level = false;  // bytes as GPT-2's alphabet, else SentencePiece's way
  bool metaspace = false;   // spaces become U+2581

  [[noreturn]] void refuse(const std::string& part, const std::string& got, const std::string& want) const {
    throw InputError(cat(place, " - ", part, ": got ", got, ", want ", want));
  }
};

std::string type_of(const json& part) { return part.is_object() ? part.value("type", "") : std::string(); }

template <class T>
T field(const json& object, const char* name, T otherwise) {
  const auto found = object.find(name);
  return found == object.end() || found->is_null() ? otherwise : found->get<T>();
}

constexpr const char* kUnderscore = "\xE2\x96\x81";

std::optional<Token> token_of(const Parts& parts, const json& text) {
  const json& name = text.is_object() && text.contains("content") ? text["content"] : text;
  if (!name.is_string()) return std::nullopt;
  const auto& vocabulary = parts.spec.vocabulary;
  const auto found = std::find_if(vocabulary.begin(), vocabulary.end(),
                                  [&](const auto& entry) { return entry.text == name.get<std::string>(); });
  if (found == vocabulary.end()) return std::nullopt;
  return static_cast<Token>(found - vocabulary.begin());
}

void read_model(Parts& parts) {
  const json& model = parts.file.at("model");
  std::string type = type_of(model);
  if (type.empty() && model.contains("merges")) type = "BPE";  // files before that key
  if (type != "BPE") parts.refuse("model.type", cat("'", type, "'"), "BPE");
  for (const char* name : {"continuing_subword_prefix", "end_of_word_suffix"})
    if (!field<std::string>(model, name, "").empty())
      parts.refuse(cat("model.", name), model[name].dump(), "none");
  if (field<double>(model, "dropout", 0) != 0) parts.refuse("model.dropout", model["dropout"].dump(), "none");
  for (const auto& [text, id] : model.at("vocab").items()) {
    const auto at = id.get<size_t>();
    if (at >= parts.spec.vocabulary.size())
      parts.spec.vocabulary.resize(at + 1, {.kind = TokenKind::kUnused});
    parts.spec.vocabulary[at] = {.text = text};
  }
  for (const json& merge : model.at("merges")) {
    if (merge.is_array() && merge.size() == 2) {
      parts.spec.merges.emplace_back(merge[0].get<std::string>(), merge[1].get<std::string>());
      continue;
    }
    const auto both = merge.get<std::string>();
    const size_t space = both.find(' ');
    if (space == std::string::npos) parts.refuse("model.merges", merge.dump(), "two tokens and a space");
    parts.spec.merges.emplace_back(both.substr(0, space), both.substr(space + 1));
  }
  parts.spec.ignore_merges = field<bool>(model, "ignore_merges", false);
  if (field<bool>(model, "byte_fallback", false))
    for (auto& entry : parts.spec.vocabulary)
      if (entry.text.size() == 6 && entry.text.starts_with("<0x") && entry.text.ends_with(">"))
        entry.kind = TokenKind::kByte;
  if (model.contains("unk_token") && !model["unk_token"].is_null()) {
    parts.spec.unknown = token_of(parts, model["unk_token"]);
    if (parts.spec.unknown) parts.spec.vocabulary[*parts.spec.unknown].kind = TokenKind::kUnknown;
  }
}

void read_added_tokens(Parts& parts) {
  if (!parts.file.contains("added_tokens")) return;
  for (const json& added : parts.file["added_tokens"]) {
    const auto text = added.at("content").get<std::string>();
    for (const char* name : {"single_word", "lstrip", "rstrip"})
      if (field<bool>(added, name, false))
        parts.refuse(cat("added_tokens, '", text, "', ", name), "true", "false");
    const auto id = added.at("id").get<size_t>();
    if (id >= parts.spec.vocabulary.size())
      parts.spec.vocabulary.resize(id + 1, {.kind = TokenKind::kUnused});
    parts.spec.vocabulary[id] = {
        .text = text,
        .kind = field<bool>(added, "special", false) ? TokenKind::kControl : TokenKind::kUserDefined};
  }
}

void read_normalizer(Parts& parts, const json& part, const std::string& name) {
  if (part.is_null()) return;
  const std::string type = type_of(part);
  if (type == "Sequence") {
    for (const json& one : part.at("normalizers")) read_normalizer(parts, one, name + ".Sequence");
  } else if (type == "NFC") {
    parts.spec.normalize_nfc = true;
  } else if (type == "Prepend" && part.at("prepend") == kUnderscore) {
    parts.spec.add_space_prefix = true;
  } else if (type == "Replace" && part.at("pattern") == json{{"String", " "}} &&
             part.at("content") == kUnderscore) {
    parts.metaspace = true;
  } else {
    parts.refuse(name, part.dump(), "Sequence, NFC, Prepend of U+2581 or Replace of ' ' by U+2581");
  }
}

void read_split(Parts& parts, const json& part, const std::string& name) {
  const auto behavior = part.at("behavior").get<std::string>();
  const bool invert = field<bool>(part, "invert", false);
  // "Removed" and inverted: what the expression does not find is dropped; those in use find everything.
  if (!(behavior == "Isolated" && !invert) && !(behavior == "Removed" && invert))
    parts.refuse(name, cat("behavior ", behavior, invert ? ", inverted" : ""),
                 "Isolated, or Removed and inverted");
  const json& pattern = part.at("pattern");
  if (pattern.contains("Regex")) {
    parts.spec.splits.push_back(pattern["Regex"].get<std::string>());
    return;
  }
  std::string literal;
  for (const char c : pattern.at("String").get<std::string>()) {
    if (std::ispunct(static_cast<unsigned char>(c))) literal += '\\';
    literal += c;
  }
  parts.spec.splits.push_back(literal);
}

void read_pre_tokenizer(Parts& parts, const json& part, const std::string& name) {
  if (part.is_null()) return;
  const std::string type = type_of(part);
  if (type == "Sequence") {
    for (const json& one : part.at("pretokenizers")) read_pre_tokenizer(parts, one, name + ".Sequence");
  } else if (type == "ByteLevel") {
    parts.byte_level = true;
    if (field<bool>(part, "add_prefix_space", true))
      parts.refuse(name + ".ByteLevel.add_prefix_space", "true", "false");
    TokenizerSpec gpt2;
    set_pre_tokenizer(gpt2, "gpt-2", parts.place);
    if (field<bool>(part, "use_regex", true)) parts.spec.splits.push_back(gpt2.splits[0]);
  } else if (type == "Digits") {
    parts.spec.splits.push_back(field<bool>(part, "individual_digits", false) ? "\\p{N}" : "\\p{N}+");
  } else if (type == "Split") {
    read_split(parts, part, name + ".Split");
  } else if (type == "Metaspace" && !field<bool>(part, "split", true) &&
             field<std::string>(part, "replacement", kUnderscore) == kUnderscore) {
    parts.metaspace = true;
    const auto scheme = field<std::string>(part, "prepend_scheme", "always");
    parts.spec.add_space_prefix = scheme != "never";
    parts.spec.space_prefix_once = scheme == "first";
  } else {
    parts.refuse(name, part.dump(), "Sequence, ByteLevel, Digits, Split or Metaspace that does not split");
  }
}

/// Which token the template puts before (or after) the text, and no more than one.
void read_template(Parts& parts, const json& part) {
  bool text_seen = false;
  for (const json& item : part.at("single")) {
    if (item.contains("Sequence")) {
      text_seen = true;
      continue;
    }
    const auto token = token_of(parts, item.at("SpecialToken").at("id"));
    bool& adds = text_seen ? parts.spec.add_eos : parts.spec.add_bos;
    if (!token || adds)
      parts.refuse("post_processor.single", part["single"].dump(),
                   "one known token before the text and one behind it, at most");
    adds = true;
    (text_seen ? parts.spec.eos : parts.spec.bos) = token;
  }
}

void read_post_processor(Parts& parts, const json& part) {
  if (part.is_null()) return;
  const std::string type = type_of(part);
  if (type == "Sequence")
    for (const json& one : part.at("processors")) read_post_processor(parts, one);
  else if (type == "TemplateProcessing")
    read_template(parts, part);
  else if (type != "ByteLevel")  // which only moves offsets
    parts.refuse("post_processor", part.dump(), "Sequence, TemplateProcessing or ByteLevel");
}

void read_config(Parts& parts) {
  const json& config = parts.config;
  const auto read = [&](const char* name, std::optional<Token>& token) {
    if (config.contains(name) && !config[name].is_null())
      if (const auto named = token_of(parts, config[name])) token = named;
  };
  read("bos_token", parts.spec.bos);
  read("eos_token", parts.spec.eos);
  read("unk_token", parts.spec.unknown);
  read("pad_token", parts.spec.padding);
  // Llama's classes make their template anew from these; the others take it as it is.
  const auto of_class = field<std::string>(config, "tokenizer_class", "");
  if (of_class.starts_with("Llama") || of_class.starts_with("CodeLlama") || of_class.starts_with("Gemma")) {
    parts.spec.add_bos = field<bool>(config, "add_bos_token", parts.spec.add_bos) && parts.spec.bos;
    parts.spec.add_eos = field<bool>(config, "add_eos_token", parts.spec.add_eos) && parts.spec.eos;
  }
}

TokenizerSpec parse(const json& file, const json& config, const std::string& place) {
  Parts parts{file, config, place};
  read_model(parts);
  read_added_tokens(parts);
  const auto part = [&](const char* name) { return file.contains(name) ? file[name] : json(); };
  read_normalizer(parts, part("normalizer"), "normalizer");
  read_pre_tokenizer(parts, part("pre_tokenizer"), "pre_tokenizer");
  read_post_processor(parts, part("post_processor"));
  read_config(parts);
  if (parts.byte_level == parts.metaspace)
    parts.refuse(
        "pre_tokenizer and normalizer",
        parts.byte_level ? "both ByteLevel and spaces as U+2581" : "neither ByteLevel nor spaces as U+2581",
        "one of both");
  parts.spec.model = parts.byte_level ? TokenizerModel::kBytePairs : TokenizerModel::kSentencePiece;
  if (parts.metaspace && !parts.spec.splits.empty())
    parts.refuse("pre_tokenizer", "spaces as U+2581 and a split", "no split");
  if (parts.metaspace && parts.spec.normalize_nfc)
    parts.refuse("normalizer", "spaces as U+2581 and NFC", "no NFC");
  add_known_ends(parts.spec);
  return std::move(parts.spec);
}

}  // namespace

TokenizerSpec parse_tokenizer_json(const std::string& tokenizer_json, const std::string& tokenizer_config,
                                   const std::string& place) {
  try {
    return parse(json::parse(tokenizer_json),
                 tokenizer_config.empty() ? json::object() : json::parse(tokenizer_config), place);
  } catch (const json::exception& error) {
    throw InputError(cat(place, " - tokenizer.json: got what cannot be read as one (", error.what(),
                         "), want a file of Hugging Face's tokenizers"));
  }
}

}  // namespace shoal::text
