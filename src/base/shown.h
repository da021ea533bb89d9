// Words of a file in a message: whatever the file says, the message is a line of printable ASCII.
#pragma once

#include <string>
#include <string_view>

namespace shoal {

/// The text with '?' for all other characters; what is longer than `most` is cut.
inline std::string plain(std::string_view text, size_t most = 60) {
  std::string out;
  for (const char c : text.substr(0, most)) out += c >= ' ' && c <= '~' ? c : '?';
  return text.size() > most ? out + "..." : out;
}

/// The same in quotes.
inline std::string shown(std::string_view text) { return '"' + plain(text) + '"'; }

}  // namespace shoal
