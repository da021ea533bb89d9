// SentencePiece's byte pairs (Kudo and Richardson, 2018), as Llama 2 has them: neighbours whose text together
// is a token become it, the best score first; characters without a token become bytes.
#pragma once

#include <memory>
#include <string>

#include "text/tokenizer.h"

namespace shoal::text {

/// With merges in the spec (from a tokenizer.json), they say what may become one, instead of scores.
std::unique_ptr<const Tokenizer> make_sentence_piece(TokenizerSpec, const std::string& place);

}  // namespace shoal::text
