// What each form can say of a model: the tensors and the words of a file to be written. convert.h puts them
// together.
#pragma once

#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "formats/converted_weights.h"
#include "formats/gguf_header.h"
#include "formats/model_file.h"

namespace shoal::formats {

/// The family of GGUF that computes what the model computes: "llama", "qwen2", "qwen3" or "gpt2". Throws
/// InputError where there is none.
std::string gguf_family(const ModelFile&);
std::vector<ConvertedTensor> gguf_tensors(const ModelFile&, const std::string& family,
                                          std::optional<WeightType>);
/// Adds what GGUF says of model, tokenizer and chat template.
void add_gguf_metadata(GgufHeader&, const ModelFile&, const std::string& family);
/// "general.file_type": what most of the elements are.
uint32_t gguf_file_type(const std::vector<ConvertedTensor>&);

std::vector<ConvertedTensor> hf_tensors(const ModelFile&, std::optional<WeightType>);
/// config.json: the text by name. The tokenizer's files are those of hf_tokenizer.h.
std::map<std::string, std::string> hf_files(const ModelFile&, WeightType most);

/// A run's folder: checkpoints/step-0, with the weights alone, and the tokenizer. Throws InputError where src/models do not
/// compute what the model asks for.
void write_checkpoint(const ModelFile&, const std::filesystem::path& source, const std::filesystem::path& out,
                      std::optional<WeightType>);

/// Tokens that are bytes as byte pairs without merges, which every other program knows; others as they are.
text::TokenizerSpec as_byte_pairs(text::TokenizerSpec);

/// Whether the model has the weight in its first layer ("attn_q.bias").
bool has_in_layers(const ModelFile&, const std::string& name);

/// The type that a matrix of the source gets: as asked for, else its own where that has no blocks or
/// `blocks_allowed`, else F32.
WeightType target_type(WeightType of_source, std::optional<WeightType> asked, bool blocks_allowed);

}  // namespace shoal::formats
