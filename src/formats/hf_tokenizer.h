// The files beside the weights of a Hugging Face folder that say how text becomes tokens (docs/tokenizers.md), and
// the chat template.
#pragma once

#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <string>

#include "formats/model_file.h"

namespace shoal::formats {

constexpr size_t kMostText = size_t{256} << 20;  // of a tokenizer.json; the largest in use have some 35 MB
inline constexpr const char* kTokenizerFolder = "tokenizer";  // in the folder of a run of shoal train

/// Of tokenizer.json, with what tokenizer_config.json, config.json and generation_config.json add where they are
/// there; rows up to `vocabulary` without a token are unused. Throws InputError.
text::TokenizerSpec read_hf_tokenizer(const std::filesystem::path& folder, int64_t vocabulary);
/// "" where there is none.
std::string read_hf_chat_template(const std::filesystem::path& folder);

/// tokenizer.json and what belongs to it, the text by name: the files of `source` where that is a folder that has
/// them, else made of what the model says. Throws InputError where tokenizer.json has no words for it.
std::map<std::string, std::string> hf_tokenizer_files(const ModelFile&, const std::filesystem::path& source);

/// What goes on reading and writing text as the model of `source` does. Throws as hf_tokenizer_files().
struct KeptTokenizer {
  std::map<std::string, std::string> files;  // of the folder of a run; none: bytes
  std::string hash;                          // of tokenizer.json, for the notes of checkpoints; "": bytes
};
KeptTokenizer kept_tokenizer(const ModelFile&, const std::filesystem::path& source);

/// tokenizer.json of byte pairs (https://huggingface.co/docs/tokenizers).
nlohmann::ordered_json tokenizer_json(const text::TokenizerSpec&);

/// Whether the tokens are bytes and the end of a document, by whatever name.
bool is_of_bytes(const text::TokenizerSpec&);

/// One of the small files of JSON.
nlohmann::json read_hf_object(const std::filesystem::path&);
/// As such files are written. What is no UTF-8 in a hostile vocabulary becomes U+FFFD instead of an exception.
std::string hf_text(const nlohmann::ordered_json&);

}  // namespace shoal::formats
