// Words of a file in a message: whatever the file says, the message is a line of printable ASCII.
#pragma once

#include <string>
#include <string_view>

namespace shoal::formats {

/// The text in quotes; other characters as '?', and what is long cut short.
inline std::string shown(std::string_view text) {
  constexpr size_t kMost = 60;
  std::string out = "\"";
  for (const char c : text.substr(0, kMost)) out += c >= ' ' && c <= '~' ? c : '?';
  return out + (text.size() > kMost ? "...\"" : "\"");
}

}  // namespace shoal::formats
