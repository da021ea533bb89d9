// What goes from one form into another and back is the same, to the bit; what cannot go is told, and leaves
// nothing.
#include "formats/convert.h"

#include <gtest/gtest.h>

#include <cmath>

#include "base/text.h"
#include "formats/converted_weights.h"
#include "formats/dequantise.h"
#include "formats/llama3_scaling.h"
#include "formats/quantise.h"
#include "formats/support.h"

namespace shoal::formats {
namespace {

struct Family {
  const char* name;
  Architecture architecture;
  bool halves;
};
constexpr Family kFamilies[] = {{"llama", Architecture::kLlama, false},
                                {"qwen2", Architecture::kLlama, true},
                                {"qwen3", Architecture::kLlama, true},
                                {"gpt2", Architecture::kGpt2, false}};

TinyModel model_of(const Family& family, WeightType type) {
  ModelConfig config = tiny_config(family.architecture, family.halves);
  config.query_key_norm = family.name == std::string("qwen3");
  config.tied_head = config.query_key_norm;
  TinyModel model =
      tiny_model(config, type, family.name == std::string("qwen2") || family.name == std::string("gpt2"));
  if (family.name == std::string("qwen2"))  // which has biases, but not there
    for (int layer = 0; layer < 2; ++layer) model.weights.erase(layer_weight(layer, "attn_output.bias"));
  return model;
}

TEST(Convert, RotationsGoThereAndBack) {
  EXPECT_EQ(rotation_order(2, 6, 4, true), (std::vector<int64_t>{0, 2, 1, 3, 4, 5, 6, 8, 7, 9, 10, 11}));
  for (const int64_t width : {2, 8, 64}) {
    const auto there = rotation_order(3, 64, width, true), back = rotation_order(3, 64, width, false);
    for (size_t i = 0; i < there.size(); ++i)
      EXPECT_EQ(there[static_cast<size_t>(back[i])], static_cast<int64_t>(i)) << width;
  }
}

TEST(Convert, EveryFamilyComesBackAsItWas) {
  const TemporaryFolder folder;
  for (const Family& family : kFamilies)
    for (const WeightType type : {WeightType::kF32, WeightType::kF16, WeightType::kBF16}) {
      const std::string name = cat(family.name, info(type).name);
      SCOPED_TRACE(name);
      TinyModel tiny = model_of(family, type);
      if (family.architecture == Architecture::kGpt2) {  // GGUF has these as F32
        Weight weight = tiny.weights.at("position_embd.weight").first;
        weight.type = WeightType::kF32;
        std::mt19937_64 random(1);
        tiny.weights["position_embd.weight"] = {weight, random_bytes(weight, random)};
      }
      write_tiny_gguf(folder / name, tiny, family.name);
      convert(folder / name, folder / (name + "-hf"), {TargetForm::kHuggingFace, {}});
      convert(folder / (name + "-hf"), folder / (name + "-back"), {TargetForm::kGguf, {}});
      const auto before = open_model(folder / name), after = open_model(folder / (name + "-back"));
      expect_weights(*after, tiny);
      const ModelConfig &a = before->config(), &b = after->config();
      EXPECT_EQ(a.rope_halves, b.rope_halves);
      EXPECT_EQ(a.query_key_norm, b.query_key_norm);
      EXPECT_EQ(a.tied_head, b.tied_head);
      EXPECT_EQ(a.context, b.context);
      EXPECT_EQ(a.kv_heads, b.kv_heads);
      EXPECT_EQ(a.rope_base, b.rope_base);
      EXPECT_EQ(a.norm_epsilon, b.norm_epsilon);
      EXPECT_EQ(before->chat_template(), after->chat_template());
      const text::TokenizerSpec x = before->tokenizer(), y = after->tokenizer();
      ASSERT_EQ(x.vocabulary.size(), y.vocabulary.size());
      for (size_t i = 0; i < x.vocabulary.size(); ++i) {
        EXPECT_EQ(x.vocabulary[i].text, y.vocabulary[i].text);
        EXPECT_EQ(x.vocabulary[i].kind, y.vocabulary[i].kind);
      }
      EXPECT_EQ(x.merges, y.merges);
      EXPECT_EQ(x.splits, y.splits);
      EXPECT_EQ(x.bos, y.bos);
      EXPECT_EQ(x.eos, y.eos);
      EXPECT_EQ(x.ends, y.ends);
      EXPECT_EQ(x.add_bos, y.add_bos);
    }
}

TEST(Convert, ACheckpointComesBackAsItWas) {
  const TemporaryFolder folder;
  for (const Family& family : {kFamilies[0], kFamilies[3]})
    for (const WeightType type : {WeightType::kF32, WeightType::kBF16}) {
      if (family.architecture == Architecture::kGpt2 && type == WeightType::kBF16) continue;  // positions of GGUF are F32
      const std::string name = cat(family.name, info(type).name);
      SCOPED_TRACE(name);
      ModelConfig config = tiny_config(family.architecture, family.halves);
      config.tied_head = false;
      if (family.architecture == Architecture::kGpt2) config.hidden = 4 * config.width;
      const TinyModel tiny = tiny_model(config, type, family.architecture == Architecture::kGpt2);
      write_tiny_gguf(folder / name, tiny, family.name);
      convert(folder / name, folder / (name + "-run"), {TargetForm::kCheckpoint, {}});
      const auto middle = open_model(folder / (name + "-run") / "checkpoints");
      EXPECT_EQ(middle->weight("blk.0.attn_q.weight")->type, WeightType::kF32);  // vectors of GGUF are
      EXPECT_EQ(middle->config().context, config.context);
      convert(folder / (name + "-run") / "checkpoints", folder / (name + "-back"), {TargetForm::kGguf, type});
      const auto before = open_model(folder / name), after = open_model(folder / (name + "-back"));
      expect_weights(*after, tiny);
      EXPECT_EQ(after->config().rope_base, before->config().rope_base);
      EXPECT_EQ(after->config().norm_epsilon, before->config().norm_epsilon);
      const text::TokenizerSpec x = before->tokenizer(), y = after->tokenizer();
      ASSERT_EQ(x.vocabulary.size(), y.vocabulary.size());
      for (size_t i = 0; i < x.vocabulary.size(); ++i) EXPECT_EQ(x.vocabulary[i].text, y.vocabulary[i].text);
      EXPECT_EQ(x.merges, y.merges);
      EXPECT_EQ(x.eos, y.eos);
    }
  // Rounded where that is asked for, and then a folder of it is all bf16, which stays.
  convert(folder / "llamaF32-run/checkpoints", folder / "half", {TargetForm::kHuggingFace, WeightType::kBF16});
  convert(folder / "half", folder / "half-run", {TargetForm::kCheckpoint, {}});
  EXPECT_EQ(open_model(folder / "half-run/checkpoints")->weight("output_norm.weight")->type, WeightType::kBF16);
}

TEST(Convert, QuantisedMatricesStayOrBecomeExactlyTheirNumbers) {
  const TemporaryFolder folder;
  for (const WeightType type : {WeightType::kQ8_0, WeightType::kQ4_0, WeightType::kQ4_1}) {
    const std::string name = info(type).name;
    SCOPED_TRACE(name);
    const TinyModel tiny = model_of(kFamilies[1], type);  // whose rows stay where they are
    write_tiny_gguf(folder / name, tiny, "qwen2");
    convert(folder / name, folder / (name + "-same"), {TargetForm::kGguf, {}});
    expect_weights(*open_model(folder / (name + "-same")), tiny);
    convert(folder / name, folder / (name + "-hf"), {TargetForm::kHuggingFace, {}});
    const auto before = open_model(folder / name), after = open_model(folder / (name + "-hf"));
    for (const std::string& weight : before->weight_names()) {
      const Weight x = *before->weight(weight), y = *after->weight(weight);
      EXPECT_EQ(y.type, WeightType::kF32);
      std::vector<float> a(static_cast<size_t>(x.columns)), b(a);
      for (int64_t row = 0; row < x.rows; ++row) {
        dequantise_row(x, row, a.data());
        dequantise_row(y, row, b.data());
        ASSERT_EQ(a, b) << weight;
      }
    }
  }
}

TEST(Convert, NumbersAreRoundedToTheNearest) {
  std::mt19937_64 random(3);
  std::vector<float> x(32 * 50), back(x.size());
  for (size_t i = 0; i < x.size(); ++i)  // blocks of all sizes, and one of zeros
    x[i] = i < 32 ? 0
                  : std::normal_distribution<float>()(random) *
                        std::pow(2.0f, static_cast<float>(i / 32) / 4 - 6);
  // Of Q8_0 half of a step, and 127 times the rounding of the scale to half precision.
  for (const auto& [type, error] :
       {std::pair(WeightType::kF16, 0x1p-11f), {WeightType::kBF16, 0x1p-8f}, {WeightType::kQ8_0, 0.57f}}) {
    Weight weight{type, 1, std::ssize(x), nullptr};
    std::vector<std::byte> bytes(static_cast<size_t>(weight.row_bytes()));
    ASSERT_TRUE(quantise_row(type, x.data(), std::ssize(x), bytes.data()));
    weight.data = bytes.data();
    dequantise_row(weight, 0, back.data());
    for (size_t i = 0; i < x.size(); ++i) {
      float most = 0;
      for (size_t j = i / 32 * 32; j < i / 32 * 32 + 32; ++j) most = std::max(most, std::abs(x[j]));
      const float unit = type == WeightType::kQ8_0 ? most / 127 : std::max(std::abs(x[i]), 0x1p-14f);
      EXPECT_LE(std::abs(back[i] - x[i]), error * unit) << info(type).name << " " << i;
    }
  }
  x[40] = 1e6f;
  std::vector<std::byte> bytes(x.size() * 4);
  EXPECT_FALSE(quantise_row(WeightType::kF16, x.data(), std::ssize(x), bytes.data()));
  EXPECT_TRUE(quantise_row(WeightType::kBF16, x.data(), std::ssize(x), bytes.data()));
}

TEST(Convert, WhatIsAskedForIsWritten) {
  const TemporaryFolder folder;
  write_tiny_gguf(folder / "m", model_of(kFamilies[0], WeightType::kF32), "llama");
  for (const WeightType type : {WeightType::kF16, WeightType::kBF16, WeightType::kQ8_0}) {
    const std::filesystem::path out = folder / info(type).name;
    convert(folder / "m", out, {TargetForm::kGguf, type});
    const auto model = open_model(out);
    EXPECT_EQ(model->weight("blk.0.attn_q.weight")->type, type);
    EXPECT_EQ(model->weight("blk.0.attn_norm.weight")->type, WeightType::kF32);
  }
}

TEST(Convert, Llama3sScalingIsFoundInItsFactors) {
  ModelConfig config = tiny_config(Architecture::kLlama, true);
  config.rope_width = config.head_width = 128;
  config.rope_base = 5e5;
  config.rope_scaling = RopeScaling::kLlama3;
  for (const double factor : {8.0, 32.0}) {
    config.rope_factor = factor;
    config.rope_original_context = 8192;
    const std::vector<float> factors = llama3_factors(config);
    EXPECT_EQ(factors.front(), 1);
    EXPECT_EQ(factors.back(), static_cast<float>(factor));
    ModelConfig found = tiny_config(Architecture::kLlama, true);
    found.rope_width = 128;
    found.rope_base = 5e5;
    ASSERT_TRUE(find_llama3_scaling(found, factors));
    EXPECT_EQ(found.rope_scaling, RopeScaling::kLlama3);
    EXPECT_EQ(found.rope_factor, factor);
    EXPECT_EQ(found.rope_original_context, 8192);
    std::vector<float> other = factors;
    other[40] *= 1.01f;
    EXPECT_FALSE(find_llama3_scaling(found, other));
  }
}

TEST(Convert, WhatCannotBeIsToldAndLeavesNothing) {
  const TemporaryFolder folder;
  const std::string source = (folder / "m").string();
  TinyModel tiny = model_of(kFamilies[0], WeightType::kF32);
  write_tiny_gguf(source, tiny, "llama");
  const auto to_gguf = [&](WeightType type) { convert(source, folder / "out", {TargetForm::kGguf, type}); };
  const auto to_hf = [&](std::optional<WeightType> type) {
    convert(source, folder / "out", {TargetForm::kHuggingFace, type});
  };
  EXPECT_ERROR(to_gguf(WeightType::kQ4_0), InputError, "--type - got Q4_0, want f32, f16, bf16 or q8_0");
  EXPECT_ERROR(to_hf(WeightType::kQ8_0), InputError,
               "--type - got Q8_0, want f32, f16 or bf16 for --to huggingface");
  EXPECT_ERROR(convert(source, folder / "out", {TargetForm::kCheckpoint, WeightType::kF16}), InputError,
               "--type - got F16, want f32 or bf16 for --to checkpoint");
  write_tiny_gguf(source, model_of(kFamilies[2], WeightType::kF32), "qwen3");
  EXPECT_ERROR(convert(source, folder / "out", {TargetForm::kCheckpoint, {}}), InputError,
               source + " - got norms of queries and keys, want none: our own models compute nothing else");
  auto& [weight, bytes] = tiny.weights.at("blk.1.ffn_down.weight");
  const float large = 70000;
  std::memcpy(bytes.data() + 400, &large, sizeof large);
  write_tiny_gguf(source, tiny, "llama");
  const std::string cannot =
      source + " - blk.1.ffn_down.weight: got a number that F16 cannot hold, want --type bf16 or f32";
  EXPECT_ERROR(to_gguf(WeightType::kF16), InputError, cannot);
  EXPECT_ERROR(to_hf(WeightType::kF16), InputError, cannot);
  for (const auto& entry : std::filesystem::directory_iterator(folder.path()))
    EXPECT_EQ(entry.path().filename(), "m");
  std::filesystem::create_directory(folder / "out");
  EXPECT_ERROR(to_hf({}), InputError,
               (folder / "out").string() + " - is there already, want the name of a new folder");
  EXPECT_THROW(to_gguf(WeightType::kF32), InputError);
}

}  // namespace
}  // namespace shoal::formats
