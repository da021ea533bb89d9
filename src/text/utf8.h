// Characters in bytes (Unicode 15, table 3-7).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace shoal::text {

enum class CharacterState : uint8_t {
  kWhole,
  kUnfinished,  // the text ends inside of it
  kMalformed
};

struct Character {
  char32_t code;  // U+FFFD where it is not whole
  uint8_t bytes;  // at least 1; of what is no character, the longest beginning of one
  CharacterState state;
};

/// REQUIRES: at < text.size().
Character character_at(std::string_view text, size_t at);

void append_utf8(std::string& text, char32_t code);

bool is_utf8(std::string_view text);

/// What stands for bytes that are no characters: U+FFFD for each longest beginning of one, as W3C's decoders
/// and Python have it, or for each byte, as SentencePiece has it.
enum class Replace : uint8_t { kEachBeginning, kEachByte };
std::string replace_malformed(std::string_view text, Replace);

}  // namespace shoal::text
