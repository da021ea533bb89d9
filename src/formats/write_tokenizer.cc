#include <map>

#include "formats/tokenizer_file.h"

namespace shoal::formats {
namespace {

using nlohmann::ordered_json;

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

/// tokenizer.json of byte pairs (https://huggingface.co/docs/tokenizers).
ordered_json whole_file(const text::TokenizerSpec& spec) {
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

}  // namespace

std::string tokenizer_json(const text::TokenizerSpec& spec) {
  // What is no UTF-8 in a hostile vocabulary becomes U+FFFD instead of an exception.
  return whole_file(spec).dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
}

}  // namespace shoal::formats
