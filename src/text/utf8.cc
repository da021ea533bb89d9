#include "text/utf8.h"

namespace shoal::text {
namespace {

constexpr char32_t kReplacement = 0xFFFD;

/// How many bytes the character that begins with `lead` has; 0: no character begins so.
uint8_t character_bytes(unsigned char lead) {
  if (lead < 0x80) return 1;
  if (lead >= 0xC2 && lead <= 0xDF) return 2;
  if (lead >= 0xE0 && lead <= 0xEF) return 3;
  if (lead >= 0xF0 && lead <= 0xF4) return 4;
  return 0;
}

/// Whether `byte` may be the `index`-th of a character that begins with `lead`.
bool may_follow(unsigned char lead, size_t index, unsigned char byte) {
  if (index > 1) return (byte & 0xC0) == 0x80;
  const unsigned char low = lead == 0xE0 ? 0xA0 : lead == 0xF0 ? 0x90 : 0x80;
  const unsigned char high = lead == 0xED ? 0x9F : lead == 0xF4 ? 0x8F : 0xBF;
  return byte >= low && byte <= high;
}

}  // namespace

Character character_at(std::string_view text, size_t at) {
  const auto lead = static_cast<unsigned char>(text[at]);
  if (lead < 0x80) return {lead, 1, CharacterState::kWhole};
  const uint8_t want = character_bytes(lead);
  if (want == 0) return {kReplacement, 1, CharacterState::kMalformed};
  char32_t code = lead & (0x7F >> want);
  uint8_t have = 1;
  while (have < want && at + have < text.size()) {
    const auto byte = static_cast<unsigned char>(text[at + have]);
    if (!may_follow(lead, have, byte)) return {kReplacement, have, CharacterState::kMalformed};
    code = code << 6 | (byte & 0x3F);
    ++have;
  }
  if (have < want) return {kReplacement, have, CharacterState::kUnfinished};
  return {code, want, CharacterState::kWhole};
}

void append_utf8(std::string& text, char32_t code) {
  if (code < 0x80) {
    text += static_cast<char>(code);
    return;
  }
  const int more = code < 0x800 ? 1 : code < 0x10000 ? 2 : 3;
  constexpr unsigned char kLead[] = {0, 0xC0, 0xE0, 0xF0};
  text += static_cast<char>(kLead[more] | code >> (6 * more));
  for (int i = more - 1; i >= 0; --i) text += static_cast<char>(0x80 | (code >> (6 * i) & 0x3F));
}

bool is_utf8(std::string_view text) {
  for (size_t at = 0; at < text.size();) {
    if (static_cast<unsigned char>(text[at]) < 0x80) {
      ++at;
      continue;
    }
    const Character character = character_at(text, at);
    if (character.state != CharacterState::kWhole) return false;
    at += character.bytes;
  }
  return true;
}

std::string replace_malformed(std::string_view text, Replace replace) {
  std::string whole;
  whole.reserve(text.size() + 16);
  for (size_t at = 0; at < text.size();) {
    const Character character = character_at(text, at);
    if (character.state == CharacterState::kWhole) {
      whole.append(text, at, character.bytes);
      at += character.bytes;
    } else {
      append_utf8(whole, kReplacement);
      at += replace == Replace::kEachByte ? 1 : character.bytes;
    }
  }
  return whole;
}

}  // namespace shoal::text
