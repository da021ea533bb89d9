#include "text/tokenizer.h"

namespace shoal::text {
namespace {

constexpr std::string_view kReplacement = "\xEF\xBF\xBD";

/// How many bytes the character that begins with `lead` has; 0: no character begins so.
size_t character_bytes(unsigned char lead) {
  if (lead < 0x80) return 1;
  if (lead >= 0xC2 && lead <= 0xDF) return 2;
  if (lead >= 0xE0 && lead <= 0xEF) return 3;
  if (lead >= 0xF0 && lead <= 0xF4) return 4;
  return 0;
}

/// Whether `byte` may be the `index`-th of a character that begins with `lead` (Unicode 15, table 3-7).
bool may_follow(unsigned char lead, size_t index, unsigned char byte) {
  if (index > 1) return (byte & 0xC0) == 0x80;
  const unsigned char low = lead == 0xE0 ? 0xA0 : lead == 0xF0 ? 0x90 : 0x80;
  const unsigned char high = lead == 0xED ? 0x9F : lead == 0xF4 ? 0x8F : 0xBF;
  return byte >= low && byte <= high;
}

}  // namespace

std::string Utf8Stream::add(std::string_view bytes) {
  rest_ += bytes;
  std::string whole;
  size_t at = 0;
  while (at < rest_.size()) {
    const auto lead = static_cast<unsigned char>(rest_[at]);
    const size_t want = character_bytes(lead);
    size_t have = want == 0 ? 0 : 1;
    while (have < want && at + have < rest_.size() &&
           may_follow(lead, have, static_cast<unsigned char>(rest_[at + have])))
      ++have;
    if (want > 0 && have < want && at + have == rest_.size()) break;  // it may still become one
    if (want > 0 && have == want)
      whole.append(rest_, at, want);
    else
      whole += kReplacement;  // one for the longest beginning of a character, as W3C's decoders do
    at += have == 0 ? 1 : have;
  }
  rest_.erase(0, at);
  return whole;
}

std::string Utf8Stream::finish() {
  std::string left = rest_.empty() ? "" : std::string(kReplacement);
  rest_.clear();
  return left;
}

}  // namespace shoal::text
