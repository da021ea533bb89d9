#include "formats/hf_tokenizer.h"

#include <system_error>

#include "base/hash.h"
#include "base/text.h"
#include "formats/ends.h"
#include "formats/json_text.h"
#include "formats/mapped_file.h"
#include "formats/target.h"
#include "shoal/error.h"

namespace shoal::formats {
namespace {

namespace fs = std::filesystem;
using nlohmann::ordered_json;

constexpr size_t kMostSmallText = 16 << 20;
constexpr int kDepth = 16;

bool is_file(const fs::path& path) {
  std::error_code ignored;
  return fs::is_regular_file(path, ignored);
}

std::string text_or_nothing(const fs::path& path, size_t most) {
  return is_file(path) ? read_text(path, "the files of a Hugging Face model", most) : "";
}

ordered_json added_token(const text::VocabularyEntry& entry, size_t id) {
  return {{"id", id},
          {"content", entry.text},
          {"single_word", false},
          {"lstrip", false},
          {"rstrip", false},
          {"normalized", false},
          {"special", entry.kind == text::TokenKind::kControl}};
}

ordered_json template_of(const text::TokenizerSpec& spec) {
  ordered_json items = ordered_json::array(), tokens = ordered_json::object();
  const auto add = [&](text::Token token) {
    const std::string& text = spec.vocabulary[static_cast<size_t>(token)].text;
    items.push_back({{"SpecialToken", {{"id", text}, {"type_id", 0}}}});
    tokens[text] = {{"id", text}, {"ids", {token}}, {"tokens", {text}}};
  };
  if (spec.add_bos && spec.bos) add(*spec.bos);
  items.push_back({{"Sequence", {{"id", "A"}, {"type_id", 0}}}});
  if (spec.add_eos && spec.eos) add(*spec.eos);
  const ordered_json pair =
      ordered_json::parse(R"([{"Sequence":{"id":"A","type_id":0}},{"Sequence":{"id":"B","type_id":1}}])");
  return {{"type", "TemplateProcessing"}, {"single", items}, {"pair", pair}, {"special_tokens", tokens}};
}

ordered_json tokenizer_config(const ModelFile& model, const text::TokenizerSpec& spec) {
  ordered_json json = {{"tokenizer_class", "PreTrainedTokenizerFast"},
                       {"model_max_length", model.config().context},
                       {"clean_up_tokenization_spaces", false}};
  const auto special = [&](const char* name, std::optional<text::Token> token) {
    if (token) json[name] = spec.vocabulary[static_cast<size_t>(*token)].text;
  };
  special("bos_token", spec.bos);
  special("eos_token", spec.eos);
  special("unk_token", spec.unknown);
  special("pad_token", spec.padding);
  if (const std::string chat = model.chat_template(); !chat.empty()) json["chat_template"] = chat;
  return json;
}

}  // namespace

ordered_json tokenizer_json(const text::TokenizerSpec& spec) {
  ordered_json added = ordered_json::array(), vocabulary = ordered_json::object(),
               merges = ordered_json::array();
  // Ids in order, each text once: ordered_json looks for a key among all that are there.
  std::map<std::string, size_t> ids;
  for (size_t id = 0; id < spec.vocabulary.size(); ++id) {
    const text::VocabularyEntry& entry = spec.vocabulary[id];
    const bool is_added =
        entry.kind == text::TokenKind::kControl || entry.kind == text::TokenKind::kUserDefined;
    if (is_added)
      added.push_back(added_token(entry, id));
    else if (entry.kind != text::TokenKind::kUnused)
      ids.emplace(entry.text, id);
  }
  for (const auto& [left, right] : spec.merges) merges.push_back({left, right});
  ordered_json cuts = ordered_json::array();
  if (spec.split_digits) cuts.push_back({{"type", "Digits"}, {"individual_digits", true}});
  for (const std::string& split : spec.splits)
    cuts.push_back(
        {{"type", "Split"}, {"pattern", {{"Regex", split}}}, {"behavior", "Isolated"}, {"invert", false}});
  const ordered_json bytes = {
      {"type", "ByteLevel"}, {"add_prefix_space", false}, {"trim_offsets", true}, {"use_regex", false}};
  cuts.push_back(bytes);
  const bool has_template = (spec.add_bos && spec.bos) || (spec.add_eos && spec.eos);
  return {{"version", "1.0"},
          {"truncation", nullptr},
          {"padding", nullptr},
          {"added_tokens", added},
          {"normalizer", spec.normalize_nfc ? ordered_json{{"type", "NFC"}} : ordered_json(nullptr)},
          {"pre_tokenizer", {{"type", "Sequence"}, {"pretokenizers", cuts}}},
          {"post_processor", has_template ? template_of(spec) : bytes},
          {"decoder", bytes},
          {"model",
           {{"type", "BPE"},
            {"dropout", nullptr},
            {"unk_token", nullptr},
            {"continuing_subword_prefix", nullptr},
            {"end_of_word_suffix", nullptr},
            {"fuse_unk", false},
            {"byte_fallback", false},
            {"ignore_merges", spec.ignore_merges},
            {"vocab", nlohmann::json(ids)},
            {"merges", merges}}}};
}

nlohmann::json read_hf_object(const fs::path& path) {
  return parse_object(read_text(path, "the files of a Hugging Face model", kMostSmallText), path.string(),
                      kDepth);
}

std::string hf_text(const ordered_json& value) {
  return value.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
}

text::TokenizerSpec read_hf_tokenizer(const fs::path& folder, int64_t vocabulary) {
  const fs::path path = folder / "tokenizer.json";
  text::TokenizerSpec spec = text::parse_tokenizer_json(
      read_text(path, "the tokenizer of the model", kMostText),
      text_or_nothing(folder / "tokenizer_config.json", kMostText), path.string());
  const auto size = static_cast<int64_t>(spec.vocabulary.size());
  if (size > vocabulary)
    throw InputError(cat(path.string(), " - vocabulary: got ", size, " tokens, want at most ",
                         vocabulary, ""));
  for (int64_t token = size; token < vocabulary; ++token)
    spec.vocabulary.push_back({cat("[PAD", token, "]"), 0, text::TokenKind::kUnused});
  std::vector<int64_t> ends(spec.ends.begin(), spec.ends.end());
  if (spec.eos) ends.push_back(*spec.eos);
  const auto add = [&](const nlohmann::json& json, const fs::path& file) {
    for (const int64_t token : Members(json, file.string()).integers("eos_token_id")) ends.push_back(token);
  };
  for (const char* const name : {"config.json", "generation_config.json"})
    if (is_file(folder / name)) add(read_hf_object(folder / name), folder / name);
  spec.ends.clear();
  add_ends(spec, ends);
  return spec;
}

std::string read_hf_chat_template(const fs::path& folder) {
  if (is_file(folder / "chat_template.jinja"))
    return read_text(folder / "chat_template.jinja", "a chat template", kMostSmallText);
  const fs::path path = folder / "tokenizer_config.json";
  if (!is_file(path)) return "";
  const nlohmann::json json = read_hf_object(path);
  const auto found = json.find("chat_template");
  if (found == json.end() || found->is_null()) return "";
  if (found->is_string()) return found->get<std::string>();
  std::string chosen;  // of several with names the default, or the first
  if (found->is_array())
    for (const nlohmann::json& entry : *found) {
      if (!entry.is_object()) break;
      const Members members(entry, path.string(), "chat_template.");
      const std::string text = members.text("template").value_or("");
      if (chosen.empty() || members.text("name") == "default") chosen = text;
    }
  if (chosen.empty())
    throw InputError(
        cat(path.string(), " - chat_template: got neither a string nor a list of templates with names"));
  return chosen;
}

std::map<std::string, std::string> hf_tokenizer_files(const ModelFile& model, const fs::path& source) {
  std::map<std::string, std::string> files;
  if (is_file(source / "tokenizer.json")) {
    for (const char* const name :
         {"tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json",
          "chat_template.jinja", "generation_config.json", "vocab.json", "merges.txt", "tokenizer.model"})
      if (is_file(source / name)) files[name] = read_text(source / name, "a file of the model", kMostText);
    return files;
  }
  const text::TokenizerSpec spec = as_byte_pairs(model.tokenizer());
  if (spec.model != text::TokenizerModel::kBytePairs)
    throw InputError(cat(model.place(),
                         " - tokenizer: got SentencePiece's, which cannot be written as tokenizer.json "
                         "yet; want --to gguf, or the folder that the model was made from"));
  ordered_json generation = ordered_json::object();
  if (spec.bos) generation["bos_token_id"] = *spec.bos;
  if (!spec.ends.empty()) generation["eos_token_id"] = spec.ends;
  files["generation_config.json"] = hf_text(generation);
  files["tokenizer.json"] = hf_text(tokenizer_json(spec));
  files["tokenizer_config.json"] = hf_text(tokenizer_config(model, spec));
  return files;
}

KeptTokenizer kept_tokenizer(const ModelFile& model, const std::filesystem::path& source) {
  if (is_of_bytes(model.tokenizer())) return {};
  KeptTokenizer kept{hf_tokenizer_files(model, source), {}};
  kept.hash = hash_hex(kept.files.at("tokenizer.json"));
  return kept;
}

bool is_of_bytes(const text::TokenizerSpec& spec) {
  const auto vocabulary = static_cast<int64_t>(spec.vocabulary.size());
  if (spec.model == text::TokenizerModel::kBytes) return true;
  if (vocabulary <= 256 || !spec.merges.empty()) return false;
  const text::TokenizerSpec bytes = as_byte_pairs(text::byte_tokenizer(vocabulary));
  for (size_t token = 0; token <= 256; ++token)
    if (spec.vocabulary[token].text != bytes.vocabulary[token].text) return false;
  return true;
}

}  // namespace shoal::formats
