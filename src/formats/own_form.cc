#include "formats/own_form.h"

#include <vector>

#include "base/text.h"
#include "formats/converted_weights.h"
#include "formats/dequantise.h"
#include "shoal/error.h"

namespace shoal::formats {
namespace {

/// Of queries and keys whose rotation pairs neighbours: our llama pairs halves.
std::vector<int64_t> order_of(const ModelConfig& config, const std::string& name) {
  const bool is_query = name.ends_with(".attn_q.weight"), is_key = name.ends_with(".attn_k.weight");
  if (config.architecture == Architecture::kGpt2 || config.rope_halves || !(is_query || is_key)) return {};
  return rotation_order(is_query ? config.heads : config.kv_heads, config.head_width, config.rope_width, true);
}

}  // namespace

void check_own_form(const ModelFile& file, const std::string& place) {
  const ModelConfig& config = file.config();
  const auto check = [&](bool good, const std::string& sentence) {
    if (!good) throw InputError(cat(place, " - ", sentence));
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
  check(config.rope_scaling == RopeScaling::kNone, wants("scaled rotary embeddings", "plain ones"));
  check(config.rope_width == config.head_width,
        wants(cat("a rotation of ", config.rope_width, " of ", config.head_width, " numbers"), "all of a head's"));
  check(!config.query_key_norm, wants("norms of queries and keys", "none"));
  check(config.sliding_window == 0, wants(cat("a sliding window of ", config.sliding_window), "none"));
  for (const std::string& name : file.weight_names())
    check(!name.ends_with(".bias"), wants(cat("the bias ", name), "layers without biases"));
}

nlohmann::ordered_json own_model_keys(const ModelConfig& config) {
  const bool is_gpt = config.architecture == Architecture::kGpt2;
  nlohmann::ordered_json keys;
  keys["name"] = is_gpt ? "gpt" : "llama";
  keys["vocabulary"] = config.vocabulary;
  keys["layers"] = config.layers;
  keys["width"] = config.width;
  keys["heads"] = config.heads;
  keys["tied_head"] = config.tied_head;
  if (is_gpt) {
    keys["context"] = config.context;  // a learned embedding for each position
    return keys;
  }
  keys["kv_heads"] = config.kv_heads;
  keys["hidden"] = config.hidden;
  keys["rope_base"] = static_cast<double>(config.rope_base);
  keys["norm_eps"] = static_cast<double>(config.norm_epsilon);
  return keys;
}

state::TensorSpec own_spec(const ModelConfig& config, const WantedWeight& wanted) {
  const auto [name, part] = own_place(config.architecture, wanted.name);
  const bool is_vector = wanted.name.ends_with(".bias") || wanted.name.ends_with("norm.weight");
  std::vector<int64_t> shape = {wanted.rows, wanted.columns};
  if (is_vector) shape = {wanted.columns};
  if (part >= 0) shape[0] *= 3;  // queries, keys and values are one
  return {name, "weight", "F32", shape};
}

void copy_to_own(const ModelFile& file, const std::string& name, float* to) {
  const Weight weight = file.weight(name).value();
  const OwnPlace place = own_place(file.config().architecture, name);
  const int64_t head_width = file.config().head_width;
  if (place.part >= 0 && weight.rows == 1) {  // a bias, whose elements are rows' numbers
    std::vector<float> values(static_cast<size_t>(weight.columns));
    dequantise_row(weight, 0, values.data());
    for (int64_t i = 0; i < weight.columns; ++i) to[place.row(i, head_width)] = values[static_cast<size_t>(i)];
    return;
  }
  const std::vector<int64_t> order = order_of(file.config(), name);
  for (int64_t row = 0; row < weight.rows; ++row)
    dequantise_row(weight, order.empty() ? row : order[static_cast<size_t>(row)],
                   to + place.row(row, head_width) * weight.columns);
}

}  // namespace shoal::formats
