#include "formats/gguf_config.h"

#include <cmath>

#include "base/text.h"
#include "formats/model_shape.h"
#include "formats/shown.h"
#include "shoal/error.h"

namespace shoal::formats {
namespace {

struct Family {
  const char* name;  // general.architecture
  Architecture architecture;
  bool rope_halves;
  bool query_key_norm;
};
constexpr Family kFamilies[] = {{"llama", Architecture::kLlama, false, false},
                                {"qwen2", Architecture::kLlama, true, false},
                                {"qwen3", Architecture::kLlama, true, true},
                                {"gpt2", Architecture::kGpt2, false, false}};

/// Settings that change the answer in ways that we do not compute, unless they have this value.
struct Unsupported {
  const char* key;
  double neutral;
};
constexpr Unsupported kUnsupported[] = {{"expert_count", 0},
                                        {"attention.scale", 0},
                                        {"logit_scale", 0},
                                        {"residual_scale", 0},
                                        {"embedding_scale", 0},
                                        {"attention.clamp_kqv", 0},
                                        {"attention.max_alibi_bias", 0},
                                        {"attn_logit_softcapping", 0},
                                        {"final_logit_softcapping", 0},
                                        {"leading_dense_block_count", 0}};

/// Keys of one architecture.
class Keys {
 public:
  Keys(const GgufFile& file, const std::string& prefix) : file_(file), prefix_(prefix + ".") {}
  int64_t integer(const std::string& key) const { return wanted(key, file_.integer(prefix_ + key)); }
  int64_t integer(const std::string& key, int64_t otherwise) const {
    return file_.integer(prefix_ + key).value_or(otherwise);
  }
  double real(const std::string& key) const { return wanted(key, file_.real(prefix_ + key)); }
  double real(const std::string& key, double otherwise) const {
    return file_.real(prefix_ + key).value_or(otherwise);
  }
  std::string text(const std::string& key) const { return file_.text(prefix_ + key).value_or(""); }
  std::string title(const std::string& key) const { return cat(file_.place(), " - ", prefix_, key); }

 private:
  template <class T>
  T wanted(const std::string& key, const std::optional<T>& value) const {
    if (!value) throw InputError(cat(title(key), ": is missing, want a number"));
    return *value;
  }
  const GgufFile& file_;
  std::string prefix_;
};

void read_scaling(const Keys& keys, ModelConfig& config) {
  std::string type = keys.text("rope.scaling.type");
  const double old_factor = keys.real("rope.scale_linear", 1);  // as files of 2023 have it
  config.rope_factor = keys.real("rope.scaling.factor", old_factor);
  if (type.empty() && config.rope_factor != 1) type = "linear";
  const double attention = keys.real("rope.scaling.attn_factor", 1);
  if (type.empty() || type == "none") {
    config.rope_factor = 1;
  } else if (type == "linear") {
    config.rope_scaling = RopeScaling::kLinear;
  } else if (type == "yarn") {
    config.rope_scaling = RopeScaling::kYarn;
    config.rope_original_context = keys.integer("rope.scaling.original_context_length", config.context);
    config.rope_low = keys.real("rope.scaling.yarn_beta_slow", 1);
    config.rope_high = keys.real("rope.scaling.yarn_beta_fast", 32);
    if (keys.real("rope.scaling.yarn_ext_factor", 1) != 1)
      throw InputError(cat(keys.title("rope.scaling.yarn_ext_factor"), ": got another number, want 1"));
    const double length_factor = config.rope_factor > 1 ? 0.1 * std::log(config.rope_factor) + 1 : 1;
    config.rope_attention_factor = keys.real("rope.scaling.yarn_attn_factor", attention) * length_factor;
    return;
  } else {
    throw InputError(
        cat(keys.title("rope.scaling.type"), ": got ", shown(type), ", want none, linear or yarn"));
  }
  config.rope_attention_factor = attention;
}

}  // namespace

ModelConfig gguf_config(const GgufFile& file) {
  const std::string& place = file.place();
  const std::string architecture = file.text("general.architecture").value_or("");
  const Family* family = nullptr;
  for (const Family& known : kFamilies)
    if (architecture == known.name) family = &known;
  if (!family)
    throw InputError(cat(place, " - general.architecture: got ", shown(architecture),
                         ", want llama, qwen2, qwen3 or gpt2"));
  const Keys keys(file, architecture);
  for (const Unsupported& setting : kUnsupported)
    if (const double got = keys.real(setting.key, setting.neutral); got != setting.neutral)
      throw InputError(
          cat(keys.title(setting.key), ": got ", got, ", which is not supported; use another model"));

  ModelConfig config;
  config.architecture = family->architecture;
  config.name = file.text("general.name").value_or(architecture);
  config.layers = keys.integer("block_count");
  config.width = keys.integer("embedding_length");
  config.hidden = keys.integer("feed_forward_length");
  config.context = keys.integer("context_length");
  config.heads = keys.integer("attention.head_count");
  config.kv_heads = keys.integer("attention.head_count_kv", config.heads);
  if (config.heads < 1 || config.width < 1)
    throw InputError(cat(keys.title("attention.head_count"), ": got ", config.heads, " heads of a width of ",
                         config.width, ", want at least 1 of each"));
  config.head_width = keys.integer("attention.key_length", config.width / config.heads);
  if (const int64_t value = keys.integer("attention.value_length", config.head_width);
      value != config.head_width)
    throw InputError(cat(keys.title("attention.value_length"), ": got ", value, ", want ", config.head_width,
                         ", as attention.key_length"));
  if (family->architecture == Architecture::kLlama) {
    config.norm_epsilon = keys.real("attention.layer_norm_rms_epsilon");
    config.rope_halves = family->rope_halves;
    config.query_key_norm = family->query_key_norm;
    config.rope_width = keys.integer("rope.dimension_count", config.head_width);
    config.rope_base = keys.real("rope.freq_base", 1e4);
    config.sliding_window = keys.integer("attention.sliding_window", 0);
    read_scaling(keys, config);
  } else {
    config.norm_epsilon = keys.real("attention.layer_norm_epsilon");
    if (config.heads * config.head_width != config.width || config.kv_heads != config.heads)
      throw InputError(cat(keys.title("attention.head_count"), ": got ", config.heads, " heads of ",
                           config.head_width, " and ", config.kv_heads,
                           " of keys, want equally many, as wide as the model together"));
  }
  config.tied_head = true;
  for (const GgufFile::Tensor& tensor : file.tensors()) {
    if (tensor.name == "output.weight") config.tied_head = false;
    if (tensor.name == "token_embd.weight") config.vocabulary = tensor.weight.rows;
  }
  check_config(config, place);
  return config;
}

}  // namespace shoal::formats
