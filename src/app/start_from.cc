#include "app/start_from.h"

#include <torch/nn/module.h>

#include <string>

#include "app/recipe_keys.h"
#include "base/hash.h"
#include "base/text.h"
#include "data/token_store.h"
#include "formats/converted_weights.h"
#include "formats/dequantise.h"
#include "formats/hf_tokenizer.h"
#include "formats/model_shape.h"
#include "formats/own_names.h"
#include "models/gpt.h"
#include "models/llama.h"
#include "shoal/error.h"
#include "text/identity.h"

namespace shoal::app {
namespace {

using formats::Architecture;
using formats::ModelConfig;
using formats::ModelFile;
using formats::Weight;

/// What src/models have no words for.
void check_trainable(const ModelFile& file) {
  const ModelConfig& config = file.config();
  const auto check = [&](bool good, const std::string& sentence) {
    if (!good) throw InputError(cat("--from ", file.place(), " - ", sentence));
  };
  const auto wants = [](const std::string& got, const std::string& want) {
    return cat("got ", got, ", want ", want, ": our own models compute nothing else");
  };
  check(config.head_width * config.heads == config.width,
        wants(cat("heads of ", config.head_width, " numbers"), cat("width / heads (", config.width, " / ", config.heads, ")")));
  if (config.architecture == Architecture::kGpt2) {
    check(config.hidden == 4 * config.width, wants(cat("a hidden layer of ", config.hidden), "4 x width"));
    check(static_cast<float>(config.norm_epsilon) == 1e-5F, wants(cat("norm epsilon ", config.norm_epsilon), "1e-05"));
    return;
  }
  check(config.rope_scaling == formats::RopeScaling::kNone, wants("scaled rotary embeddings", "plain ones"));
  check(config.rope_width == config.head_width,
        wants(cat("a rotation of ", config.rope_width, " of ", config.head_width, " numbers"), "all of a head's"));
  check(!config.query_key_norm, wants("norms of queries and keys", "none"));
  check(config.sliding_window == 0, wants(cat("a sliding window of ", config.sliding_window), "none"));
  for (const std::string& name : file.weight_names())
    check(!name.ends_with(".bias"), wants(cat("the bias ", name), "layers without biases"));
}

/// Fills the module's parameters, and notices what is left over on either side.
class Filler {
 public:
  Filler(const ModelFile& file, torch::nn::Module& module) : file_(file), parameters_(module.named_parameters()) {}

  void fill_all() {
    const ModelConfig& config = file_.config();
    for (const auto& wanted : formats::weights_around(config)) fill(wanted);
    for (int64_t layer = 0; layer < config.layers; ++layer)
      for (const auto& wanted : formats::weights_of_layer(config, layer)) fill(wanted);
    const auto expected = static_cast<int64_t>(parameters_.size()) + (is_gpt() ? 4 * config.layers : 0);  // q, k, v are one
    if (filled_ != expected)
      throw InputError(cat("--from ", file_.place(), " - got ", filled_, " weights, want ", expected, " for this model"));
  }

 private:
  bool is_gpt() const { return file_.config().architecture == Architecture::kGpt2; }

  void fill(const formats::WantedWeight& wanted) {
    const auto weight = file_.weight(wanted.name);
    if (!weight && wanted.optional) return;
    if (!weight) throw InputError(cat("--from ", file_.place(), " - ", wanted.name, ": is missing"));
    const formats::OwnPlace place = formats::own_place(file_.config().architecture, wanted.name);
    at::Tensor* const parameter = parameters_.find(place.name);
    const bool is_whole =
        parameter && parameter->numel() == weight->rows * weight->columns * (place.part >= 0 ? 3 : 1);
    if (!is_whole)
      throw InputError(cat("--from ", file_.place(), " - ", wanted.name, ": has no place in this model"));
    copy(*weight, order_of(wanted.name), place, parameter->data_ptr<float>());
    ++filled_;
  }

  /// Of queries and keys whose rotation pairs neighbours: our llama pairs halves.
  std::vector<int64_t> order_of(const std::string& name) const {
    const ModelConfig& config = file_.config();
    const bool is_query = name.ends_with(".attn_q.weight"), is_key = name.ends_with(".attn_k.weight");
    if (is_gpt() || config.rope_halves || !(is_query || is_key)) return {};
    return formats::rotation_order(is_query ? config.heads : config.kv_heads, config.head_width, config.rope_width, true);
  }

  void copy(const Weight& weight, const std::vector<int64_t>& order, const formats::OwnPlace& place,
            float* to) const {
    const int64_t head_width = file_.config().head_width;
    if (place.part >= 0 && weight.rows == 1) {  // a bias, whose elements are rows' numbers
      std::vector<float> values(static_cast<size_t>(weight.columns));
      formats::dequantise_row(weight, 0, values.data());
      for (int64_t i = 0; i < weight.columns; ++i) to[place.row(i, head_width)] = values[static_cast<size_t>(i)];
      return;
    }
    for (int64_t row = 0; row < weight.rows; ++row)
      formats::dequantise_row(weight, order.empty() ? row : order[static_cast<size_t>(row)],
                              to + place.row(row, head_width) * weight.columns);
  }

  const ModelFile& file_;
  torch::OrderedDict<std::string, at::Tensor> parameters_;
  int64_t filled_ = 0;
};

template <class Holder>
Network filled(Holder module, const ModelFile& file) {
  const torch::NoGradGuard no_grad;
  Filler(file, *module).fill_all();
  return {module.ptr(), nullptr, [module](const at::Tensor& input) mutable { return module->forward(input); }};
}

}  // namespace

std::vector<Override> keys_of_model(const std::filesystem::path& path) {
  const auto file = formats::open_model(path);
  check_trainable(*file);
  const ModelConfig& config = file->config();
  const bool is_gpt = config.architecture == Architecture::kGpt2;
  std::vector<Override> keys;
  const auto add = [&](const char* name, const std::string& value) {
    keys.push_back({cat("--from ", path.string()), cat("model.", name), value, true});
  };
  add("name", is_gpt ? "gpt" : "llama");
  add("vocabulary", cat(config.vocabulary));
  add("layers", cat(config.layers));
  add("width", cat(config.width));
  add("heads", cat(config.heads));
  add("tied_head", config.tied_head ? "true" : "false");
  if (is_gpt) {
    add("context", cat(config.context));  // a learned embedding for each position
    return keys;
  }
  add("kv_heads", cat(config.kv_heads));
  add("hidden", cat(config.hidden));
  add("rope_base", real_text(config.rope_base));
  add("norm_eps", real_text(config.norm_epsilon));
  return keys;
}

void check_tokens(const Recipe& recipe, const std::filesystem::path& path) {
  if (recipe.data.source != "store") return;
  const data::Manifest::Tokenizer store = data::TokenStore(recipe.data.path).manifest().tokenizer;
  const text::TokenizerSpec spec = formats::open_model(path)->tokenizer();
  const bool is_bytes = formats::is_of_bytes(spec);
  if (is_bytes ? store.identity.empty() : store.identity == text::identity(spec)) return;
  throw InputError(cat(recipe.place("data.path"), " - data.path: the store's tokens are ", store.kind, ", but not those of --from ",
                       path.string(), "; want a store that was made with its tokenizer (shoal data, format = \"tokens\")"));
}

KeptTokenizer kept_tokenizer(const std::filesystem::path& path) {
  const auto file = formats::open_model(path);
  if (formats::is_of_bytes(file->tokenizer())) return {};
  KeptTokenizer kept{formats::hf_tokenizer_files(*file, path), {}};
  kept.hash = hash_hex(kept.files.at("tokenizer.json"));
  return kept;
}

Network network_from(const Recipe& recipe, const std::filesystem::path& path) {
  const auto file = formats::open_model(path);
  if (recipe.model.name == "gpt") return filled(models::Gpt(gpt_config(recipe.model)), *file);
  return filled(models::Llama(llama_config(recipe.model)), *file);
}

}  // namespace shoal::app
