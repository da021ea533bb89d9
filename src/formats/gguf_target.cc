// A model in GGUF's words (https://github.com/ggml-org/ggml/blob/master/docs/gguf.md), as llama.cpp reads
// them.
#include <algorithm>
#include <cmath>
#include <map>

#include "base/text.h"
#include "formats/llama3_scaling.h"
#include "formats/model_shape.h"
#include "formats/target.h"
#include "shoal/error.h"

namespace shoal::formats {
namespace {

/// Small tensors that others want as F32, whatever the matrices are.
bool stays_f32(const std::string& name) {
  return name.starts_with("position_embd") || name.ends_with("norm.weight") || name.ends_with(".bias");
}

/// Splits of a tokenizer whatever says that digits stand alone.
std::vector<std::string> all_splits(const text::TokenizerSpec& spec) {
  std::vector<std::string> splits = spec.splits;
  if (spec.split_digits) splits.insert(splits.begin(), "\\p{N}");
  return splits;
}

std::string pre_tokenizer_name(const text::TokenizerSpec& spec, const std::string& place) {
  for (const char* const name : {"gpt-2", "llama-bpe", "qwen2", "deepseek-r1-qwen", "smollm", "tekken",
                                 "gpt-4o", "deepseek-v3", "deepseek-coder", "default"}) {
    text::TokenizerSpec known;
    text::set_pre_tokenizer(known, name, place);
    if (all_splits(known) == all_splits(spec) && known.normalize_nfc == spec.normalize_nfc &&
        known.ignore_merges == spec.ignore_merges)
      return name;
  }
  throw InputError(cat(place,
                       " - tokenizer: cuts text into words in a way that GGUF has no name for; want "
                       "--to huggingface, or another model"));
}

int32_t kind_number(text::TokenKind kind) {
  static const std::map<text::TokenKind, int32_t> kNumbers = {
      {text::TokenKind::kNormal, 1},      {text::TokenKind::kUnknown, 2}, {text::TokenKind::kControl, 3},
      {text::TokenKind::kUserDefined, 4}, {text::TokenKind::kUnused, 5},  {text::TokenKind::kByte, 6}};
  return kNumbers.at(kind);
}

/// Of SentencePiece without scores: what is merged first has the highest.
std::vector<float> scores_of(const text::TokenizerSpec& spec) {
  std::vector<float> scores;
  std::map<std::string, float> by_text;
  for (size_t rank = 0; rank < spec.merges.size(); ++rank)
    by_text.emplace(spec.merges[rank].first + spec.merges[rank].second, -static_cast<float>(rank));
  for (const text::VocabularyEntry& entry : spec.vocabulary) {
    const auto found = by_text.find(entry.text);
    scores.push_back(spec.merges.empty() ? entry.score : found == by_text.end() ? -1e6f : found->second);
  }
  return scores;
}

void add_tokenizer(GgufHeader& header, const text::TokenizerSpec& spec, const std::string& place) {
  const bool is_byte_pairs = spec.model == text::TokenizerModel::kBytePairs;
  header.text("tokenizer.ggml.model", is_byte_pairs ? "gpt2" : "llama");
  if (is_byte_pairs) header.text("tokenizer.ggml.pre", pre_tokenizer_name(spec, place));
  std::vector<std::string> tokens;
  std::vector<int32_t> kinds;
  for (const text::VocabularyEntry& entry : spec.vocabulary) {
    tokens.push_back(entry.text.empty() ? cat("[PAD", tokens.size(), "]") : entry.text);
    kinds.push_back(kind_number(entry.kind));
  }
  header.texts("tokenizer.ggml.tokens", tokens);
  header.integers("tokenizer.ggml.token_type", kinds);
  if (is_byte_pairs) {
    std::vector<std::string> merges;
    for (const auto& [left, right] : spec.merges) merges.push_back(cat(left, " ", right));
    header.texts("tokenizer.ggml.merges", merges);
  } else {
    header.reals("tokenizer.ggml.scores", scores_of(spec));
    header.flag("tokenizer.ggml.add_space_prefix", spec.add_space_prefix);
  }
  const auto special = [&](const char* name, std::optional<text::Token> token) {
    if (token) header.integer(cat("tokenizer.ggml.", name, "_token_id"), static_cast<uint32_t>(*token));
  };
  special("bos", spec.bos);
  special("eos", spec.eos);
  // One more end has a key of its own; the others are known by their names.
  const auto other = std::ranges::find_if(spec.ends, [&](text::Token token) { return token != spec.eos; });
  if (other != spec.ends.end()) special("eot", *other);
  special("unknown", spec.unknown);
  special("padding", spec.padding);
  header.flag("tokenizer.ggml.add_bos_token", spec.add_bos);
  header.flag("tokenizer.ggml.add_eos_token", spec.add_eos);
}

void add_rotation(GgufHeader& header, const ModelConfig& config, const std::string& prefix) {
  header.integer(prefix + "rope.dimension_count", static_cast<uint32_t>(config.rope_width));
  header.real(prefix + "rope.freq_base", static_cast<float>(config.rope_base));
  if (config.rope_scaling == RopeScaling::kLinear || config.rope_scaling == RopeScaling::kYarn) {
    const bool is_yarn = config.rope_scaling == RopeScaling::kYarn;
    header.text(prefix + "rope.scaling.type", is_yarn ? "yarn" : "linear");
    header.real(prefix + "rope.scaling.factor", static_cast<float>(config.rope_factor));
    if (is_yarn) {
      header.integer(prefix + "rope.scaling.original_context_length",
                     static_cast<uint32_t>(config.rope_original_context));
      header.real(prefix + "rope.scaling.yarn_beta_slow", static_cast<float>(config.rope_low));
      header.real(prefix + "rope.scaling.yarn_beta_fast", static_cast<float>(config.rope_high));
      const double by_length = config.rope_factor > 1 ? 0.1 * std::log(config.rope_factor) + 1 : 1;
      header.real(prefix + "rope.scaling.yarn_attn_factor",
                  static_cast<float>(config.rope_attention_factor / by_length));
    }
  }
}

}  // namespace

std::string gguf_family(const ModelFile& model) {
  const ModelConfig& config = model.config();
  if (config.architecture == Architecture::kGpt2) return "gpt2";
  const bool has_inputs = has_in_layers(model, "attn_q.bias"),
             has_output = has_in_layers(model, "attn_output.bias");
  if (config.query_key_norm) {
    if (has_inputs || has_output)
      throw InputError(cat(model.place(),
                           " - attention: got norms of queries and biases, which no family of GGUF has; "
                           "want --to huggingface"));
    return "qwen3";
  }
  return has_inputs && !has_output ? "qwen2" : "llama";
}

std::vector<ConvertedTensor> gguf_tensors(const ModelFile& model, const std::string& family,
                                          std::optional<WeightType> type) {
  const ModelConfig& config = model.config();
  const bool wants_halves = family == "qwen2" || family == "qwen3", is_gpt2 = family == "gpt2";
  const bool turns = !is_gpt2 && wants_halves != config.rope_halves;
  std::vector<ConvertedTensor> all;
  const auto add = [&](const WantedWeight& want) {
    const auto weight = model.weight(want.name);
    if (!weight) return;
    ConvertedTensor tensor{
        .name = want.name, .parts = {want.name}, .rows = want.rows, .columns = want.columns};
    tensor.is_vector = want.name.ends_with("norm.weight") || want.name.ends_with(".bias") ||
                       want.name == "rope_freqs.weight";
    tensor.type =
        tensor.is_vector || stays_f32(want.name) ? WeightType::kF32 : target_type(weight->type, type, true);
    const std::string last = want.name.substr(want.name.find('.', 4) + 1);
    if (turns && (last.starts_with("attn_q.") || last.starts_with("attn_k.")))
      tensor.order = rotation_order(last.starts_with("attn_q.") ? config.heads : config.kv_heads,
                                    config.head_width, config.rope_width, wants_halves);
    if (is_gpt2 && (last.starts_with("attn_k.") || last.starts_with("attn_v."))) return;  // with the queries
    if (is_gpt2 && last.starts_with("attn_q.")) {
      const std::string layer = want.name.substr(0, want.name.size() - last.size()), kind = last.substr(7);
      tensor.name = cat(layer, "attn_qkv.", kind);
      tensor.parts = {want.name, cat(layer, "attn_k.", kind), cat(layer, "attn_v.", kind)};
      (tensor.is_vector ? tensor.columns : tensor.rows) *= 3;
    }
    all.push_back(std::move(tensor));
  };
  for (const WantedWeight& want : weights_around(config)) add(want);
  if (config.rope_scaling == RopeScaling::kLlama3) {
    ConvertedTensor made{.name = "rope_freqs.weight", .rows = 1, .columns = config.rope_width / 2};
    made.is_vector = true;
    made.made = llama3_factors(config);
    all.push_back(std::move(made));
  }
  for (int64_t layer = 0; layer < config.layers; ++layer)
    for (const WantedWeight& want : weights_of_layer(config, layer)) add(want);
  for (const ConvertedTensor& tensor : all)
    if (tensor.columns % info(tensor.type).block_elements != 0)
      throw InputError(cat(model.place(), " - ", tensor.name, ": got rows of ", tensor.columns,
                           " elements, want multiples of ", info(tensor.type).block_elements,
                           " for --type q8_0; use f16 or bf16"));
  return all;
}

uint32_t gguf_file_type(const std::vector<ConvertedTensor>& tensors) {
  static const std::map<WeightType, uint32_t> kNumbers = {
      {WeightType::kF32, 0},  {WeightType::kF16, 1},   {WeightType::kQ4_0, 2},  {WeightType::kQ4_1, 3},
      {WeightType::kQ8_0, 7}, {WeightType::kQ4_K, 15}, {WeightType::kQ6_K, 18}, {WeightType::kBF16, 32}};
  std::map<WeightType, int64_t> elements;
  for (const ConvertedTensor& tensor : tensors) elements[tensor.type] += tensor.rows * tensor.columns;
  return kNumbers.at(
      std::ranges::max_element(elements, {}, [](const auto& item) { return item.second; })->first);
}

void add_gguf_metadata(GgufHeader& header, const ModelFile& model, const std::string& family) {
  const ModelConfig& config = model.config();
  if (config.rope_attention_factor != 1 && config.rope_scaling != RopeScaling::kYarn)
    throw InputError(cat(model.place(), " - rotation: got an attention factor of ",
                         config.rope_attention_factor,
                         " without YaRN, which GGUF cannot say; want --to huggingface"));
  const std::string prefix = family + ".";
  const auto whole = [&](const std::string& key, int64_t value) {
    header.integer(prefix + key, static_cast<uint32_t>(value));
  };
  header.text("general.architecture", family);
  header.text("general.name", config.name);
  whole("vocab_size", config.vocabulary);
  whole("context_length", config.context);
  whole("embedding_length", config.width);
  whole("block_count", config.layers);
  whole("feed_forward_length", config.hidden);
  whole("attention.head_count", config.heads);
  whole("attention.head_count_kv", config.kv_heads);
  const auto epsilon = static_cast<float>(config.norm_epsilon);
  if (config.architecture == Architecture::kLlama) {
    whole("attention.key_length", config.head_width);
    whole("attention.value_length", config.head_width);
    header.real(prefix + "attention.layer_norm_rms_epsilon", epsilon);
    if (config.sliding_window > 0) whole("attention.sliding_window", config.sliding_window);
    add_rotation(header, config, prefix);
  } else {
    header.real(prefix + "attention.layer_norm_epsilon", epsilon);
  }
  add_tokenizer(header, as_byte_pairs(model.tokenizer()), model.place());
  if (const std::string chat = model.chat_template(); !chat.empty())
    header.text("tokenizer.chat_template", chat);
}

}  // namespace shoal::formats
