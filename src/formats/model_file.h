// A model as it lies on the disk, whoever wrote it: GGUF, a Hugging Face folder, a checkpoint of ours
// (docs/model_files.md). Opening reads what describes the model; weights stay in the file, mapped, and are read
// where they are touched.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "text/tokenizer.h"

namespace shoal::formats {

/// How elements lie in memory; the quantised ones in blocks along a row, as GGUF defines them.
enum class WeightType : uint8_t { kF32, kF16, kBF16, kQ8_0, kQ4_0, kQ4_1, kQ4_K, kQ6_K };
struct WeightTypeInfo {
  const char* name;       // "Q4_1", as GGUF names it
  int64_t block_elements; // 1, 32 or 256
  int64_t block_bytes;
};
const WeightTypeInfo& info(WeightType);

/// A matrix [rows, columns] (a vector has one row), row after row, a row's blocks without gaps. y = x W^T:
/// rows are outputs, as in torch::nn::Linear.
struct Weight {
  WeightType type = WeightType::kF32;
  int64_t rows = 0, columns = 0;
  const std::byte* data = nullptr;  // lives as long as its ModelFile; aligned to an element, of blocks to 2 bytes
  int64_t row_bytes() const;
};

enum class Architecture : uint8_t { kLlama, kGpt2 };  // the families, not the brands

enum class RopeScaling : uint8_t { kNone, kLinear, kLlama3, kYarn };

/// The hyperparameters, of every family. Counts are of elements.
struct ModelConfig {
  Architecture architecture = Architecture::kLlama;
  std::string name;  // as the file calls the model
  int64_t vocabulary = 0, layers = 0, width = 0, heads = 0, kv_heads = 0, head_width = 0, hidden = 0;
  int64_t context = 0;     // positions that it was trained on
  double norm_epsilon = 1e-5;
  bool tied_head = false;      // the head is the token embedding: there is no output.weight
  // kLlama
  bool rope_halves = false;    // pairs (i, i + n/2), as Transformers and GGUF's "neox"; else (2i, 2i+1)
  int64_t rope_width = 0;      // of a head's elements so many turn
  double rope_base = 1e4;
  RopeScaling rope_scaling = RopeScaling::kNone;
  // Bounds: of Llama 3 its low and high frequency factors; of YaRN beta_slow and beta_fast (1 and 32).
  double rope_factor = 1, rope_low = 1, rope_high = 4;
  int64_t rope_original_context = 0;
  double rope_attention_factor = 1;    // cosines and sines are multiplied by it: of YaRN 0.1 ln(factor) + 1
  bool query_key_norm = false;         // RMS norm of each head's query and key (Qwen 3)
  int64_t sliding_window = 0;          // 0: none. Positions that a query sees at most (Mistral)
  // Which file it came from may have its own shape of attention input: [q; k; v] rows of one matrix,
  // grouped by head (q|k|v of head 0, then of head 1...), as our gpt has it.
};

/// Weights by GGUF's names, whatever the file calls them: "token_embd.weight", "position_embd.weight",
/// "blk.3.attn_norm.weight", ".attn_norm.bias", ".attn_q.weight", ".attn_q.bias", ".attn_k.*", ".attn_v.*",
/// ".attn_output.*", ".attn_q_norm.weight", ".attn_k_norm.weight", ".ffn_norm.*", ".ffn_gate.*", ".ffn_up.*",
/// ".ffn_down.*", "output_norm.*", "output.weight", "rope_freqs.weight". What a file keeps as one matrix
/// (GPT-2's attn_qkv, transposed Conv1D) is given as those; such are copied into memory once, at the first use.
class ModelFile {
 public:
  virtual ~ModelFile() = default;
  virtual const ModelConfig& config() const = 0;
  /// Nothing where the model has none of that name. Throws InputError where the file is not what it says.
  /// Several threads may call it at once.
  virtual std::optional<Weight> weight(const std::string& name) const = 0;
  virtual std::vector<std::string> weight_names() const = 0;
  /// Of as many tokens as config().vocabulary: rows without a token are of kind kUnused.
  virtual text::TokenizerSpec tokenizer() const = 0;
  virtual std::string chat_template() const = 0;  // "" where it brings none
  virtual std::string place() const = 0;          // what messages call it: the path
};

/// Opens what `path` is: a GGUF file, a folder with config.json, a checkpoint (or a folder of them: the latest).
/// Throws InputError: what is there, what is wanted.
std::shared_ptr<const ModelFile> open_model(const std::filesystem::path& path);

}  // namespace shoal::formats
