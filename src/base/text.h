// Small text: gluing, joining, human sizes, nearest spelling.
#pragma once

#include <cstdint>
#include <locale>
#include <span>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

namespace shoal {

/// All arguments through operator<<, as one string: cat("got ", 3, ", want ", 4). Never in the program's
/// locale: names in files and hashes are made of this.
template <class... Parts>
std::string cat(const Parts&... parts) {
  std::ostringstream out;
  out.imbue(std::locale::classic());
  (out << ... << parts);
  return out.str();
}

/// The items through operator<<, with `separator` between; as cat.
template <class Range>
std::string join(const Range& items, std::string_view separator) {
  std::ostringstream out;
  out.imbue(std::locale::classic());
  bool first = true;
  for (const auto& item : items) {
    if (!first) out << separator;
    out << item;
    first = false;
  }
  return out.str();
}

std::vector<std::string> split(std::string_view text, char separator);

/// The index of the first line that they do not have alike; that of the end of both when there is none.
size_t first_unlike(std::span<const std::string> a, std::span<const std::string> b);

/// "1.5 GiB", "64 B".
std::string human_bytes(uint64_t bytes);

/// The candidate with the smallest edit distance to `word`, in small letters or capitals, or "" when none is
/// within a third of its length (at least 2).
std::string nearest(std::string_view word, std::span<const std::string> candidates);

}  // namespace shoal
