// Byte-level byte pairs, as GPT-2 has them (Radford et al., 2019), and the alphabet in which their
// vocabularies are written.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "text/tokenizer.h"

namespace shoal::text {

/// The bytes that a token's text stands for; characters that are not of the alphabet stand for themselves.
std::string bytes_of_alphabet(std::string_view text);
/// The way back: a character of the alphabet for each byte.
std::string alphabet_of_bytes(std::string_view bytes);

/// The regular expressions that cut its text into words, in turn.
std::vector<std::string> word_expressions(const TokenizerSpec&);

std::unique_ptr<const Tokenizer> make_byte_pairs(TokenizerSpec, const std::string& place);

}  // namespace shoal::text
