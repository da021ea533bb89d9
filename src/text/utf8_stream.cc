#include "text/tokenizer.h"
#include "text/utf8.h"

namespace shoal::text {

std::string Utf8Stream::add(std::string_view bytes) {
  rest_ += bytes;
  std::string whole;
  size_t at = 0;
  while (at < rest_.size()) {
    const Character character = character_at(rest_, at);
    if (character.state == CharacterState::kUnfinished) break;  // it may still become one
    append_utf8(whole, character.code);
    at += character.bytes;
  }
  rest_.erase(0, at);
  return whole;
}

std::string Utf8Stream::finish() {
  std::string left;
  if (!rest_.empty()) append_utf8(left, 0xFFFD);
  rest_.clear();
  return left;
}

}  // namespace shoal::text
