// A model in the words of Hugging Face's folders, as transformers reads them.
#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/text.h"
#include "formats/dequantise.h"
#include "formats/hf_names.h"
#include "formats/hf_tokenizer.h"
#include "formats/llama3_scaling.h"
#include "formats/model_shape.h"
#include "formats/target.h"
#include "shoal/error.h"

namespace shoal::formats {
namespace {

using nlohmann::ordered_json;

/// With what GGUF says by weights said by parameters.
ModelConfig hf_form(const ModelFile& model) {
  ModelConfig config = model.config();
  if (config.architecture == Architecture::kLlama && config.rope_width != config.head_width)
    throw InputError(cat(model.place(), " - rotation: got ", config.rope_width, " of the ", config.head_width,
                         " elements of a head, which config.json cannot say; want --to gguf"));
  const auto frequencies = model.weight("rope_freqs.weight");
  if (frequencies) {
    std::vector<float> factors(static_cast<size_t>(frequencies->columns));
    dequantise_row(*frequencies, 0, factors.data());
    if (!find_llama3_scaling(config, factors))
      throw InputError(cat(model.place(),
                           " - rope_freqs.weight: got factors that are not Llama 3's, which config.json "
                           "cannot say; want --to gguf"));
  }
  if (config.rope_attention_factor != 1 && config.rope_scaling != RopeScaling::kYarn)
    throw InputError(cat(model.place(), " - rotation: got an attention factor of ",
                         config.rope_attention_factor,
                         " without YaRN, which config.json cannot say; want --to gguf"));
  return config;
}

ordered_json rotation(const ModelConfig& config) {
  switch (config.rope_scaling) {
    case RopeScaling::kNone:
      return nullptr;
    case RopeScaling::kLinear:
      return {{"rope_type", "linear"}, {"factor", config.rope_factor}};
    case RopeScaling::kLlama3:
      return {{"rope_type", "llama3"},
              {"factor", config.rope_factor},
              {"low_freq_factor", config.rope_low},
              {"high_freq_factor", config.rope_high},
              {"original_max_position_embeddings", config.rope_original_context}};
    case RopeScaling::kYarn:
      break;
  }
  return {{"rope_type", "yarn"},
          {"factor", config.rope_factor},
          {"beta_slow", config.rope_low},
          {"beta_fast", config.rope_high},
          {"attention_factor", config.rope_attention_factor},
          {"original_max_position_embeddings", config.rope_original_context}};
}

ordered_json llama_config(const ModelFile& model, const ModelConfig& config) {
  const bool has_inputs = has_in_layers(model, "attn_q.bias"),
             has_output = has_in_layers(model, "attn_output.bias");
  const bool has_window = config.sliding_window > 0;
  std::string brand = has_window ? "Mistral" : "Llama", type = has_window ? "mistral" : "llama";
  if (config.query_key_norm)
    brand = "Qwen3", type = "qwen3";
  else if (has_inputs && !has_output)
    brand = "Qwen2", type = "qwen2";
  if (has_output && (!has_inputs || brand == "Mistral"))
    throw InputError(
        cat(model.place(), " - attention: got biases that no model of config.json has; want --to gguf"));
  ordered_json json = {{"architectures", {brand + "ForCausalLM"}},
                       {"model_type", type},
                       {"vocab_size", config.vocabulary},
                       {"hidden_size", config.width},
                       {"intermediate_size", config.hidden},
                       {"num_hidden_layers", config.layers},
                       {"num_attention_heads", config.heads},
                       {"num_key_value_heads", config.kv_heads},
                       {"head_dim", config.head_width},
                       {"hidden_act", "silu"},
                       {"max_position_embeddings", config.context},
                       {"rms_norm_eps", config.norm_epsilon},
                       {"tie_word_embeddings", config.tied_head},
                       {"rope_theta", config.rope_base}};
  if (const ordered_json scaling = rotation(config); !scaling.is_null()) json["rope_scaling"] = scaling;
  if (brand == "Llama" || brand == "Qwen3") json["attention_bias"] = has_inputs;
  if (brand == "Mistral") json["sliding_window"] = config.sliding_window;
  if (brand.starts_with("Qwen")) {
    json["use_sliding_window"] = has_window;
    if (has_window) json["sliding_window"] = config.sliding_window, json["max_window_layers"] = 0;
  }
  return json;
}

ordered_json gpt2_config(const ModelConfig& config) {
  return {{"architectures", {"GPT2LMHeadModel"}},
          {"model_type", "gpt2"},
          {"vocab_size", config.vocabulary},
          {"n_positions", config.context},
          {"n_embd", config.width},
          {"n_layer", config.layers},
          {"n_head", config.heads},
          {"n_inner", config.hidden},
          {"activation_function", "gelu_new"},
          {"layer_norm_epsilon", config.norm_epsilon},
          {"tie_word_embeddings", config.tied_head}};
}

}  // namespace

std::vector<ConvertedTensor> hf_tensors(const ModelFile& model, std::optional<WeightType> type) {
  const ModelConfig config = hf_form(model);
  const bool turns = config.architecture == Architecture::kLlama && !config.rope_halves;
  std::vector<ConvertedTensor> all;
  const auto add = [&](const WantedWeight& want) {
    const auto weight = model.weight(want.name);
    if (!weight || want.name == "rope_freqs.weight") return;
    const HfPlace place = hf_place(config.architecture, want.name);
    if (place.third > 0) return all.back().parts.push_back(want.name);  // queries came before
    ConvertedTensor tensor{
        .name = place.name, .parts = {want.name}, .rows = want.rows, .columns = want.columns};
    tensor.is_vector = want.name.ends_with("norm.weight") || want.name.ends_with(".bias");
    tensor.transposed = place.transposed;
    tensor.type = target_type(weight->type, type, false);
    if (place.third == 0) (tensor.is_vector ? tensor.columns : tensor.rows) *= 3;
    const std::string last = want.name.substr(want.name.find('.', 4) + 1);
    if (turns && (last.starts_with("attn_q.") || last.starts_with("attn_k.")))
      tensor.order = rotation_order(last.starts_with("attn_q.") ? config.heads : config.kv_heads,
                                    config.head_width, config.rope_width, true);
    all.push_back(std::move(tensor));
  };
  for (const WantedWeight& want : weights_around(config)) add(want);
  // Of a layer first the weights, then the biases, so that what lies in one tensor follows.
  for (int64_t layer = 0; layer < config.layers; ++layer)
    for (const bool bias : {false, true})
      for (const WantedWeight& want : weights_of_layer(config, layer))
        if (want.name.ends_with(".bias") == bias) add(want);
  return all;
}

std::map<std::string, std::string> hf_files(const ModelFile& model, WeightType most) {
  const ModelConfig config = hf_form(model);
  ordered_json json =
      config.architecture == Architecture::kGpt2 ? gpt2_config(config) : llama_config(model, config);
  json["torch_dtype"] = most == WeightType::kF32   ? "float32"
                        : most == WeightType::kF16 ? "float16"
                                                   : "bfloat16";
  const text::TokenizerSpec spec = as_byte_pairs(model.tokenizer());
  json["bos_token_id"] = json["eos_token_id"] = nullptr;  // else GPT-2's would be taken
  if (spec.bos) json["bos_token_id"] = *spec.bos;
  if (spec.eos) json["eos_token_id"] = *spec.eos;
  return {{"config.json", hf_text(json)}};
}

}  // namespace shoal::formats
