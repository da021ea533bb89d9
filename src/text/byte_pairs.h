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

std::unique_ptr<const Tokenizer> make_byte_pairs(TokenizerSpec, const std::string& place);

}  // namespace shoal::text
