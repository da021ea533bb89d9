// Tokenizers as files by themselves, without a model.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

#include "text/tokenizer.h"

namespace shoal::formats {

/// Of a GGUF file, a Hugging Face folder or its tokenizer.json, a SentencePiece .model; "bytes" is the
/// tokenizer of bytes. Throws InputError, which begins with `place`, for what is none.
text::TokenizerSpec open_tokenizer(const std::filesystem::path&, const std::string& place);

/// SentencePiece's own file (https://github.com/google/sentencepiece, sentencepiece_model.proto). Throws
/// InputError for what text/sentence_piece.h does not do: other models than BPE, normalising.
text::TokenizerSpec parse_sentence_piece_model(std::string_view bytes, const std::string& place);

}  // namespace shoal::formats
