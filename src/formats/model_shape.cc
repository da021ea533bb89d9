#include "formats/model_shape.h"

#include <cmath>
#include <utility>

#include "base/text.h"
#include "shoal/error.h"

namespace shoal::formats {

void check_config(const ModelConfig& config, const std::string& place) {
  const auto within = [&](const char* what, int64_t got, int64_t least, int64_t most) {
    if (got < least || got > most)
      throw InputError(cat(place, " - ", what, ": got ", got, ", want ", least, " to ", most));
  };
  const auto real = [&](const char* what, double got, double least, double most) {
    if (!(got >= least && got <= most))
      throw InputError(cat(place, " - ", what, ": got ", got, ", want ", least, " to ", most));
  };
  constexpr int64_t kMostSize = 1 << 24;
  within("vocabulary", config.vocabulary, 1, kMostSize);
  within("layers", config.layers, 1, kMostLayers);
  within("width", config.width, 1, kMostSize);
  within("heads", config.heads, 1, 1 << 16);
  within("key and value heads", config.kv_heads, 1, config.heads);
  within("width of a head", config.head_width, 1, 1 << 16);
  within("hidden width", config.hidden, 1, kMostSize);
  within("context", config.context, 1, int64_t{1} << 30);
  within("sliding window", config.sliding_window, 0, int64_t{1} << 30);
  real("epsilon of the norms", config.norm_epsilon, 1e-30, 1);
  if (config.heads % config.kv_heads != 0)
    throw InputError(cat(place, " - key and value heads: got ", config.kv_heads, ", want a divisor of ",
                         config.heads, ", the number of heads"));
  if (config.architecture != Architecture::kLlama) return;
  within("width of the rotation", config.rope_width, 2, config.head_width);
  if (config.rope_width % 2 != 0)
    throw InputError(
        cat(place, " - width of the rotation: got ", config.rope_width, ", want an even number"));
  real("base of the rotation", config.rope_base, 1e-3, 1e15);
  real("factor of the rotation", config.rope_factor, 1e-6, 1e6);
  real("low bound of the rotation's scaling", config.rope_low, 1e-6, 1e6);
  real("high bound of the rotation's scaling", config.rope_high, 1e-6, 1e6);
  real("attention factor of the rotation", config.rope_attention_factor, 1e-6, 1e6);
  const bool needs_original =
      config.rope_scaling == RopeScaling::kLlama3 || config.rope_scaling == RopeScaling::kYarn;
  within("original context of the rotation", config.rope_original_context, needs_original ? 1 : 0,
         int64_t{1} << 30);
  if (needs_original && !(config.rope_low < config.rope_high))
    throw InputError(cat(place, " - bounds of the rotation's scaling: got ", config.rope_low, " and ",
                         config.rope_high, ", want the first below the second"));
}

std::string layer_weight(int64_t layer, const std::string& name) { return cat("blk.", layer, ".", name); }

std::vector<WantedWeight> weights_around(const ModelConfig& config) {
  const bool is_llama = config.architecture == Architecture::kLlama;
  std::vector<WantedWeight> all = {{"token_embd.weight", config.vocabulary, config.width}};
  if (!is_llama) all.push_back({"position_embd.weight", config.context, config.width});
  all.push_back({"output_norm.weight", 1, config.width});
  if (!is_llama) all.push_back({"output_norm.bias", 1, config.width});
  if (!config.tied_head) all.push_back({"output.weight", config.vocabulary, config.width});
  if (is_llama) all.push_back({"rope_freqs.weight", 1, config.rope_width / 2, true});
  return all;
}

std::vector<WantedWeight> weights_of_layer(const ModelConfig& config, int64_t layer) {
  const bool is_llama = config.architecture == Architecture::kLlama;
  const int64_t width = config.width, queries = config.heads * config.head_width,
                keys = config.kv_heads * config.head_width, hidden = config.hidden;
  std::vector<WantedWeight> all;
  const auto add = [&](const char* name, int64_t rows, int64_t columns, bool optional = false) {
    all.push_back({layer_weight(layer, name), rows, columns, optional});
  };
  // A Llama's biases are what some of the family have (Qwen 2); a GPT-2 has all of them.
  add("attn_norm.weight", 1, width);
  if (!is_llama) add("attn_norm.bias", 1, width);
  add("attn_q.weight", queries, width);
  add("attn_q.bias", 1, queries, is_llama);
  add("attn_k.weight", keys, width);
  add("attn_k.bias", 1, keys, is_llama);
  add("attn_v.weight", keys, width);
  add("attn_v.bias", 1, keys, is_llama);
  add("attn_output.weight", width, queries);
  add("attn_output.bias", 1, width, is_llama);
  if (config.query_key_norm) {
    add("attn_q_norm.weight", 1, config.head_width);
    add("attn_k_norm.weight", 1, config.head_width);
  }
  add("ffn_norm.weight", 1, width);
  if (!is_llama) add("ffn_norm.bias", 1, width);
  if (is_llama) add("ffn_gate.weight", hidden, width);
  add("ffn_up.weight", hidden, width);
  if (!is_llama) add("ffn_up.bias", 1, hidden);
  add("ffn_down.weight", width, hidden);
  if (!is_llama) add("ffn_down.bias", 1, width);
  return all;
}

std::vector<WantedWeight> all_weights(const ModelConfig& config) {
  std::vector<WantedWeight> all = weights_around(config);
  for (int64_t layer = 0; layer < config.layers; ++layer)
    for (WantedWeight& wanted : weights_of_layer(config, layer)) all.push_back(std::move(wanted));
  return all;
}

}  // namespace shoal::formats
