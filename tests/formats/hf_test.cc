// Hugging Face folders: what the files say is what is given, Conv1D turned and cut in three; lies are refused.
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/text.h"
#include "formats/model_file.h"
#include "shoal/error.h"
#include "state/safetensors.h"
#include "support/expect_error.h"

namespace shoal::formats {
namespace {

namespace fs = std::filesystem;

using Shapes = std::map<std::string, std::vector<int64_t>>;

struct HuggingFace : testing::Test {
  const fs::path folder = fs::temp_directory_path() / cat("shoal-hf-", getpid());
  HuggingFace() { fs::create_directories(folder); }
  ~HuggingFace() override { fs::remove_all(folder); }

  /// Element i of the n-th tensor by name is n + i / 1024, exactly.
  void write(const nlohmann::json& config, const Shapes& shapes, const std::string& dtype = "F32") const {
    std::ofstream(folder / "config.json") << config;
    std::vector<state::SafetensorsEntry> entries;
    std::string data;
    int number = 0;
    for (const auto& [name, shape] : shapes) {
      int64_t count = 1;
      for (const int64_t dim : shape) count *= dim;
      for (int64_t i = 0; i < count; ++i) {
        const float value = static_cast<float>(number) + static_cast<float>(i) / 1024;
        data.append(reinterpret_cast<const char*>(&value), sizeof value);
      }
      entries.push_back({name, dtype, shape, 4 * count});
      ++number;
    }
    std::ofstream(folder / "model.safetensors", std::ios::binary) << state::safetensors_header(entries) << data;
  }

  static float number_of(const Shapes& shapes, const std::string& name) {
    return static_cast<float>(std::distance(shapes.begin(), shapes.find(name)));
  }
  static float element(const Weight& weight, int64_t row, int64_t column) {
    float value;
    std::memcpy(&value, weight.data + (row * weight.columns + column) * 4, 4);
    return value;
  }
};

const nlohmann::json kLlama = {{"architectures", {"LlamaForCausalLM"}}, {"vocab_size", 10}, {"num_hidden_layers", 1},
                               {"hidden_size", 8}, {"intermediate_size", 12}, {"num_attention_heads", 4},
                               {"num_key_value_heads", 2}, {"max_position_embeddings", 16}, {"rms_norm_eps", 1e-5},
                               {"rope_theta", 5e5}, {"tie_word_embeddings", true}};
const Shapes kLlamaShapes = {{"model.embed_tokens.weight", {10, 8}},
                             {"model.norm.weight", {8}},
                             {"model.layers.0.input_layernorm.weight", {8}},
                             {"model.layers.0.self_attn.q_proj.weight", {8, 8}},
                             {"model.layers.0.self_attn.k_proj.weight", {4, 8}},
                             {"model.layers.0.self_attn.v_proj.weight", {4, 8}},
                             {"model.layers.0.self_attn.o_proj.weight", {8, 8}},
                             {"model.layers.0.post_attention_layernorm.weight", {8}},
                             {"model.layers.0.mlp.gate_proj.weight", {12, 8}},
                             {"model.layers.0.mlp.up_proj.weight", {12, 8}},
                             {"model.layers.0.mlp.down_proj.weight", {8, 12}}};

TEST_F(HuggingFace, ALlamaIsGivenAsItWasWritten) {
  write(kLlama, kLlamaShapes);
  const auto model = open_model(folder);
  const ModelConfig& config = model->config();
  EXPECT_EQ(config.architecture, Architecture::kLlama);
  EXPECT_EQ(config.layers, 1);
  EXPECT_EQ(config.kv_heads, 2);
  EXPECT_EQ(config.head_width, 2);
  EXPECT_EQ(config.rope_base, 5e5);
  EXPECT_TRUE(config.rope_halves);
  EXPECT_TRUE(config.tied_head);
  EXPECT_FALSE(model->weight("output.weight"));
  const auto keys = model->weight("blk.0.attn_k.weight");
  ASSERT_TRUE(keys);
  EXPECT_EQ(keys->rows, 4);
  EXPECT_EQ(keys->columns, 8);
  EXPECT_EQ(element(*keys, 3, 5),
            number_of(kLlamaShapes, "model.layers.0.self_attn.k_proj.weight") + (3 * 8 + 5) / 1024.0f);
  EXPECT_EQ(model->weight_names().size(), kLlamaShapes.size());
}

TEST_F(HuggingFace, TheMatricesOfGpt2AreTurnedAndCutInThree) {
  Shapes shapes = {{"transformer.wte.weight", {10, 8}}, {"transformer.wpe.weight", {16, 8}},
                   {"transformer.ln_f.weight", {8}}, {"transformer.ln_f.bias", {8}}};
  const std::string layer = "transformer.h.0.";
  for (const char* norm : {"ln_1", "ln_2"}) shapes[layer + norm + ".weight"] = shapes[layer + norm + ".bias"] = {8};
  const std::map<std::string, std::pair<int64_t, int64_t>> matrices = {
      {"attn.c_attn", {8, 24}}, {"attn.c_proj", {8, 8}}, {"mlp.c_fc", {8, 32}}, {"mlp.c_proj", {32, 8}}};
  for (const auto& [name, size] : matrices) {
    shapes[layer + name + ".weight"] = {size.first, size.second};
    shapes[layer + name + ".bias"] = {size.second};
  }
  write({{"architectures", {"GPT2LMHeadModel"}}, {"vocab_size", 10}, {"n_layer", 1}, {"n_embd", 8}, {"n_head", 2},
         {"n_positions", 16}},
        shapes);
  const auto model = open_model(folder);
  EXPECT_EQ(model->config().architecture, Architecture::kGpt2);
  EXPECT_EQ(model->config().hidden, 32);
  const char* const names[] = {"blk.0.attn_q", "blk.0.attn_k", "blk.0.attn_v"};
  const float number = number_of(shapes, layer + "attn.c_attn.weight"), bias = number_of(shapes, layer + "attn.c_attn.bias");
  for (int64_t third = 0; third < 3; ++third) {
    const auto weight = model->weight(cat(names[third], ".weight")), shift = model->weight(cat(names[third], ".bias"));
    ASSERT_TRUE(weight && shift);
    for (int64_t row = 0; row < 8; ++row) {
      EXPECT_EQ(element(*shift, 0, row), bias + static_cast<float>(third * 8 + row) / 1024);
      for (int64_t column = 0; column < 8; ++column)
        EXPECT_EQ(element(*weight, row, column), number + static_cast<float>(column * 24 + third * 8 + row) / 1024);
    }
  }
}

TEST_F(HuggingFace, LiesAreRefused) {
  write(kLlama, kLlamaShapes);
  const auto with = [&](const char* key, const nlohmann::json& value) {
    nlohmann::json config = kLlama;
    config[key] = value;
    std::ofstream(folder / "config.json") << config;
  };
  const std::string place = (folder / "config.json").string();
  with("hidden_act", "relu");
  EXPECT_ERROR_CONTAINS(open_model(folder), place + " - hidden_act: got");
  with("architectures", {"FalconForCausalLM"});
  EXPECT_ERROR_CONTAINS(open_model(folder), "want LlamaForCausalLM, MistralForCausalLM");
  with("quantization_config", {{"bits", 4}});
  EXPECT_ERROR_CONTAINS(open_model(folder), "quantization_config: is not supported");
  with("intermediate_size", 13);
  EXPECT_ERROR_CONTAINS(open_model(folder), "as config.json says");
  with("num_hidden_layers", 2);
  EXPECT_ERROR_CONTAINS(open_model(folder), "blk.1.");

  with("tie_word_embeddings", true);
  Shapes more = kLlamaShapes;
  more["model.layers.0.self_attn.rotary.weight"] = {8};
  write(kLlama, more);
  EXPECT_ERROR_CONTAINS(open_model(folder), "a tensor that no model of this kind has");
  write(kLlama, kLlamaShapes);
  fs::remove(folder / "model.safetensors");
  EXPECT_ERROR_CONTAINS(open_model(folder), "got neither model.safetensors nor");
}

TEST_F(HuggingFace, AFileCutAnywhereIsRefused) {
  write(kLlama, kLlamaShapes);
  const auto size = static_cast<int64_t>(fs::file_size(folder / "model.safetensors"));
  for (int64_t left = size - 1; left >= 0; left -= left > 1200 ? 97 : 7) {
    fs::resize_file(folder / "model.safetensors", static_cast<uintmax_t>(left));
    EXPECT_ERROR_CONTAINS(open_model(folder), "model.safetensors");
  }
}

}  // namespace
}  // namespace shoal::formats
