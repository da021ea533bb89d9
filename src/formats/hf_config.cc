#include "formats/hf_config.h"

#include <algorithm>
#include <cmath>

#include "base/text.h"
#include "formats/json_text.h"
#include "formats/model_shape.h"
#include "formats/shown.h"
#include "shoal/error.h"

namespace shoal::formats {
namespace {

/// Flags that change what a model computes, and the only value that we compute.
struct Fixed {
  const char* key;
  bool value;
};
constexpr Fixed kLlamaFlags[] = {{"mlp_bias", false}};
constexpr Fixed kGpt2Flags[] = {
    {"scale_attn_weights", true}, {"scale_attn_by_inverse_layer_idx", false}, {"add_cross_attention", false}};

void check_flags(const Members& keys, std::span<const Fixed> flags) {
  for (const Fixed& flag : flags)
    if (keys.flag(flag.key).value_or(flag.value) != flag.value)
      throw InputError(cat(keys.title(flag.key), ": got ", flag.value ? "false" : "true", ", want ",
                           flag.value ? "true" : "false", "; use another model"));
}

void check_activation(const Members& keys, const std::string& key, const std::string& otherwise,
                      const std::vector<std::string>& known) {
  const std::string got = keys.text(key).value_or(otherwise);
  if (!std::ranges::count(known, got))
    throw InputError(cat(keys.title(key), ": got ", shown(got), ", want ", join(known, " or ")));
}

double wanted_real(const Members& keys, const std::string& key) {
  const auto got = keys.real(key);
  if (!got) throw InputError(cat(keys.title(key), ": is missing, want a number"));
  return *got;
}

/// YaRN's factor for a length (Peng et al., "YaRN", 2023, section 3.4).
double length_factor(double factor, double scale) { return factor > 1 ? 0.1 * scale * std::log(factor) + 1 : 1; }

void read_yarn(const Members& keys, ModelConfig& config) {
  config.rope_scaling = RopeScaling::kYarn;
  config.rope_factor = wanted_real(keys, "factor");
  config.rope_original_context = keys.integer("original_max_position_embeddings").value_or(config.context);
  config.rope_low = keys.real("beta_slow").value_or(1);
  config.rope_high = keys.real("beta_fast").value_or(32);
  if (!keys.flag("truncate").value_or(true))
    throw InputError(cat(keys.title("truncate"), ": got false, want true; use another model"));
  const auto scale = keys.real("mscale"), scale_all = keys.real("mscale_all_dim");
  const double by_length = scale && scale_all ? length_factor(config.rope_factor, *scale) /
                                                    length_factor(config.rope_factor, *scale_all)
                                              : length_factor(config.rope_factor, 1);
  config.rope_attention_factor = keys.real("attention_factor").value_or(by_length);
}

/// rope_theta and rope_scaling, or rope_parameters, which has both in files from 2025 on.
void read_rotation(const Members& keys, ModelConfig& config) {
  const auto parameters = keys.object("rope_parameters");
  const auto scaling = parameters ? parameters : keys.object("rope_scaling");
  config.rope_base = keys.real("rope_theta").value_or(1e4);
  if (scaling) config.rope_base = scaling->real("rope_theta").value_or(config.rope_base);
  for (const Members* const place : {&keys, scaling ? &*scaling : &keys})
    if (const double part = place->real("partial_rotary_factor").value_or(1); part != 1)
      throw InputError(cat(place->title("partial_rotary_factor"), ": got ", part, ", want 1; use another model"));
  if (!scaling) return;
  const char* const key = scaling->has("rope_type") ? "rope_type" : "type";
  const std::string type = scaling->text(key).value_or("default");
  if (type == "default") return;
  if (type == "linear") {
    config.rope_scaling = RopeScaling::kLinear;
    config.rope_factor = wanted_real(*scaling, "factor");
  } else if (type == "llama3") {
    config.rope_scaling = RopeScaling::kLlama3;
    config.rope_factor = wanted_real(*scaling, "factor");
    config.rope_low = wanted_real(*scaling, "low_freq_factor");
    config.rope_high = wanted_real(*scaling, "high_freq_factor");
    config.rope_original_context = scaling->wanted_integer("original_max_position_embeddings");
  } else if (type == "yarn") {
    read_yarn(*scaling, config);
  } else {
    throw InputError(
        cat(scaling->title(key), ": got ", shown(type), ", want default, linear, llama3 or yarn; use another model"));
  }
}

void read_window(const Members& keys, const std::string& brand, ModelConfig& config) {
  const bool is_mistral = brand == "Mistral";
  // Mistral has a window unless it says null; the others unless they are told to use theirs.
  int64_t window = keys.integer("sliding_window").value_or(is_mistral && !keys.json().contains("sliding_window") ? 4096 : 0);
  if (brand == "Llama" || (!is_mistral && !keys.flag("use_sliding_window").value_or(false))) window = 0;
  if (window == 0) return;
  const std::vector<std::string> types = keys.texts("layer_types");
  const auto sliding = std::ranges::count(types, "sliding_attention");
  const int64_t first = is_mistral ? 0 : keys.integer("max_window_layers").value_or(28);
  const int64_t with_window = types.empty() ? std::clamp<int64_t>(config.layers - first, 0, config.layers) : sliding;
  if (with_window == 0) return;
  if (with_window != config.layers)
    throw InputError(cat(keys.title(types.empty() ? "max_window_layers" : "layer_types"), ": got a sliding window in ",
                         with_window, " of ", config.layers, " layers, want it in all or in none; use another model"));
  config.sliding_window = window;
}

ModelConfig llama_config(const Members& keys, const std::string& brand) {
  check_flags(keys, kLlamaFlags);
  check_activation(keys, "hidden_act", "silu", {"silu", "swish"});
  ModelConfig config;
  config.vocabulary = keys.wanted_integer("vocab_size");
  config.layers = keys.wanted_integer("num_hidden_layers");
  config.width = keys.wanted_integer("hidden_size");
  config.hidden = keys.wanted_integer("intermediate_size");
  config.heads = keys.wanted_integer("num_attention_heads");
  config.kv_heads = keys.integer("num_key_value_heads").value_or(config.heads);
  config.context = keys.wanted_integer("max_position_embeddings");
  config.norm_epsilon = keys.real("rms_norm_eps").value_or(1e-6);
  config.tied_head = keys.flag("tie_word_embeddings").value_or(false);
  if (config.heads < 1)
    throw InputError(cat(keys.title("num_attention_heads"), ": got ", config.heads, ", want at least 1"));
  config.head_width = keys.integer("head_dim").value_or(brand == "Qwen3" ? 128 : config.width / config.heads);
  config.rope_width = config.head_width;
  config.rope_halves = true;
  config.query_key_norm = brand == "Qwen3";
  read_rotation(keys, config);
  read_window(keys, brand, config);
  return config;
}

ModelConfig gpt2_config(const Members& keys) {
  check_flags(keys, kGpt2Flags);
  check_activation(keys, "activation_function", "gelu_new", {"gelu_new", "gelu_pytorch_tanh"});
  ModelConfig config;
  config.architecture = Architecture::kGpt2;
  config.vocabulary = keys.wanted_integer("vocab_size");
  config.layers = keys.wanted_integer("n_layer");
  config.width = keys.wanted_integer("n_embd");
  config.heads = config.kv_heads = keys.wanted_integer("n_head");
  config.context = keys.wanted_integer("n_positions");
  if (config.heads < 1 || config.width < 1 || config.width > (1 << 24) || config.width % config.heads != 0)
    throw InputError(
        cat(keys.title("n_head"), ": got ", config.heads, ", want a divisor of n_embd, ", config.width));
  config.head_width = config.width / config.heads;
  config.hidden = keys.integer("n_inner").value_or(4 * config.width);
  config.norm_epsilon = keys.real("layer_norm_epsilon").value_or(1e-5);
  config.tied_head = keys.flag("tie_word_embeddings").value_or(true);
  return config;
}

}  // namespace

ModelConfig hf_config(const nlohmann::json& json, const std::string& place) {
  const Members keys(json, place);
  if (keys.has("quantization_config"))
    throw InputError(cat(keys.title("quantization_config"), ": is not supported; use the model in F32, F16 or BF16, or a "
                                                            "GGUF file"));
  const std::vector<std::string> architectures = keys.texts("architectures");
  const std::string architecture = architectures.empty() ? "" : architectures.front();
  ModelConfig config;
  const std::string family = "ForCausalLM";
  const std::string brand =
      architecture.ends_with(family) ? architecture.substr(0, architecture.size() - family.size()) : "";
  if (architecture == "GPT2LMHeadModel")
    config = gpt2_config(keys);
  else if (brand == "Llama" || brand == "Mistral" || brand == "Qwen2" || brand == "Qwen3")
    config = llama_config(keys, brand);
  else
    throw InputError(cat(keys.title("architectures"), ": got ", shown(architecture),
                         ", want LlamaForCausalLM, MistralForCausalLM, Qwen2ForCausalLM, Qwen3ForCausalLM or "
                         "GPT2LMHeadModel"));
  config.name = keys.text("_name_or_path").value_or("");
  check_config(config, place);
  return config;
}

}  // namespace shoal::formats
