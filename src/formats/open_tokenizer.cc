#include <system_error>

#include "base/text.h"
#include "formats/hf_tokenizer.h"
#include "formats/mapped_file.h"
#include "formats/model_file.h"
#include "formats/tokenizer_file.h"
#include "shoal/error.h"

namespace shoal::formats {
namespace {
namespace fs = std::filesystem;

text::TokenizerSpec from_json(const fs::path& file) {
  std::error_code missing;
  const fs::path config = file.parent_path() / "tokenizer_config.json";
  return text::parse_tokenizer_json(
      read_text(file, "a tokenizer", kMostText),
      fs::exists(config, missing) ? read_text(config, "the tokenizer's settings", kMostText) : "",
      file.string());
}

}  // namespace

text::TokenizerSpec open_tokenizer(const fs::path& path, const std::string& place) {
  if (path == "bytes") return text::byte_tokenizer(257);
  std::error_code missing;
  if (!fs::exists(path, missing))
    throw InputError(
        cat(place, ": tokenizer: got ", path.string(),
            ", which is not there; want bytes, a GGUF file, a folder with tokenizer.json, such a "
            "file, or a SentencePiece .model"));
  if (fs::exists(path / "tokenizer.json", missing)) return from_json(path / "tokenizer.json");
  if (path.extension() == ".json") return from_json(path);
  if (path.extension() == ".model")
    return parse_sentence_piece_model(read_text(path, "a tokenizer of SentencePiece", kMostText),
                                      path.string());
  return open_model(path)->tokenizer();
}

}  // namespace shoal::formats
