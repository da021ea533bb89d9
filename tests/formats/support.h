// Small models of every family, as files, with the bytes of their weights kept aside.
#pragma once

#include <fstream>
#include <map>
#include <random>
#include <span>
#include <string>
#include <vector>

#include "formats/gguf_header.h"
#include "formats/model_shape.h"
#include "formats/weight_table.h"
#include "state/support.h"
#include "support/expect_error.h"

namespace shoal::formats {

using state::TemporaryFolder;

inline void write_file(const std::filesystem::path& path, const std::string& text) {
  std::ofstream(path, std::ios::binary) << text;
}
inline std::string read_file(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

/// Random finite F16 or F32 numbers, or random blocks whose scales are finite.
inline std::string random_bytes(const Weight& weight, std::mt19937_64& random) {
  std::string bytes(static_cast<size_t>(bytes_of(weight)), '\0');
  if (weight.type == WeightType::kF32) {
    for (size_t i = 0; i < bytes.size() / 4; ++i) {
      const float value = std::normal_distribution<float>(0, 0.1f)(random);
      std::memcpy(bytes.data() + 4 * i, &value, 4);
    }
    return bytes;
  }
  // Of two bytes each, the second has the exponent: small enough for all that reads it as F16 or BF16.
  for (size_t i = 0; i < bytes.size(); ++i)
    bytes[i] = static_cast<char>(i % 2 == 0 ? random() & 0xFF : (random() & 0x83) | 0x28);
  return bytes;
}

struct TinyModel {
  ModelConfig config;
  std::map<std::string, std::pair<Weight, std::string>> weights;
};

inline ModelConfig tiny_config(Architecture architecture, bool rope_halves) {
  ModelConfig config;
  config.architecture = architecture;
  config.name = "tiny";
  config.vocabulary = 40;
  config.layers = 2;
  config.width = 64;
  config.heads = 4;
  config.kv_heads = architecture == Architecture::kGpt2 ? 4 : 2;
  config.head_width = 16;
  config.hidden = 96;
  config.context = 24;
  config.rope_halves = rope_halves;
  config.rope_width = architecture == Architecture::kGpt2 ? 0 : 16;
  config.tied_head = true;
  return config;
}

/// Matrices of `type`, vectors of F32; optional weights only where `optional`.
inline TinyModel tiny_model(const ModelConfig& config, WeightType type, bool optional = false) {
  TinyModel model{config, {}};
  std::mt19937_64 random(7);
  const auto add = [&](const std::vector<WantedWeight>& wanted) {
    for (const WantedWeight& want : wanted) {
      if (want.optional && !optional) continue;
      if (want.name == "rope_freqs.weight") continue;
      Weight weight{want.rows == 1 ? WeightType::kF32 : type, want.rows, want.columns, nullptr};
      model.weights[want.name] = {weight, random_bytes(weight, random)};
    }
  };
  add(weights_around(config));
  for (int64_t layer = 0; layer < config.layers; ++layer) add(weights_of_layer(config, layer));
  return model;
}

/// Its tokenizer has the bytes 0 to 37 as GPT-2 writes them, <s> and <|im_end|>.
inline void write_tiny_gguf(const std::filesystem::path& path, const TinyModel& model,
                            const std::string& family, const std::string& leave_out = "") {
  GgufHeader header;
  const ModelConfig& config = model.config;
  const auto whole = [&](const std::string& key, int64_t value) {
    if (key != leave_out) header.integer(family + "." + key, static_cast<uint32_t>(value));
  };
  header.text("general.architecture", family);
  header.text("general.name", config.name);
  whole("block_count", config.layers);
  whole("embedding_length", config.width);
  whole("feed_forward_length", config.hidden);
  whole("context_length", config.context);
  whole("attention.head_count", config.heads);
  whole("attention.head_count_kv", config.kv_heads);
  const bool is_llama = config.architecture == Architecture::kLlama;
  header.real(family + (is_llama ? ".attention.layer_norm_rms_epsilon" : ".attention.layer_norm_epsilon"),
              1e-5f);
  header.text("tokenizer.ggml.model", "gpt2");
  header.text("tokenizer.ggml.pre", "gpt-2");
  std::vector<std::string> tokens;
  std::vector<int32_t> kinds;
  for (int i = 0; i < 38; ++i) {
    tokens.push_back(std::string(1, static_cast<char>('!' + i)));
    kinds.push_back(1);
  }
  tokens.insert(tokens.end(), {"<s>", "<|im_end|>"});
  kinds.insert(kinds.end(), {3, 3});
  header.texts("tokenizer.ggml.tokens", tokens);
  header.integers("tokenizer.ggml.token_type", kinds);
  header.texts("tokenizer.ggml.merges", std::vector<std::string>{"! \"", "# $"});
  header.integer("tokenizer.ggml.bos_token_id", 38);
  header.integer("tokenizer.ggml.eos_token_id", 39);
  header.flag("tokenizer.ggml.add_bos_token", true);
  header.text("tokenizer.chat_template", "{{ messages }}");
  std::string data;
  for (const auto& [name, entry] : model.weights) {
    if (name == leave_out) continue;
    header.tensor(name, entry.first, entry.first.rows == 1);
    data += entry.second;
    data.resize(static_cast<size_t>(GgufHeader::padded(static_cast<int64_t>(data.size()))), '\0');
  }
  write_file(path, header.bytes() + data);
}

inline std::string bytes_of_weight(const Weight& weight) {
  return {reinterpret_cast<const char*>(weight.data), static_cast<size_t>(bytes_of(weight))};
}

/// Whether the open model has these weights, to the bit, and no others.
inline void expect_weights(const ModelFile& file, const TinyModel& model) {
  std::vector<std::string> names;
  for (const auto& [name, entry] : model.weights) {
    names.push_back(name);
    const auto weight = file.weight(name);
    ASSERT_TRUE(weight) << name;
    EXPECT_EQ(weight->type, entry.first.type) << name;
    EXPECT_EQ(weight->rows, entry.first.rows) << name;
    EXPECT_EQ(weight->columns, entry.first.columns) << name;
    EXPECT_TRUE(bytes_of_weight(*weight) == entry.second) << name;
  }
  EXPECT_EQ(file.weight_names(), names);
}

}  // namespace shoal::formats
