#include "base/text.h"

#include <algorithm>
#include <charconv>
#include <numeric>

namespace shoal {

std::vector<std::string> split(std::string_view text, char separator) {
  std::vector<std::string> parts;
  for (size_t begin = 0;;) {
    const size_t end = text.find(separator, begin);
    parts.emplace_back(text.substr(begin, end - begin));
    if (end == std::string_view::npos) return parts;
    begin = end + 1;
  }
}

size_t first_unlike(std::span<const std::string> a, std::span<const std::string> b) {
  size_t line = 0;
  while (line < a.size() && line < b.size() && a[line] == b[line]) ++line;
  return line;
}

std::string human_bytes(uint64_t bytes) {
  static constexpr const char* kUnits[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
  double value = static_cast<double>(bytes);
  size_t unit = 0;
  while (value >= 1024 && unit + 1 < std::size(kUnits)) value /= 1024, ++unit;
  char digits[32];
  const auto end = std::to_chars(digits, std::end(digits), value, std::chars_format::fixed,
                                 unit == 0 || value >= 100 ? 0 : 1);
  return cat(std::string_view(digits, end.ptr), " ", kUnits[unit]);
}

namespace {
size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), size_t{0});
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t substitute = diagonal + (a[i - 1] != b[j - 1]);
      diagonal = row[j];
      row[j] = std::min({row[j] + 1, row[j - 1] + 1, substitute});
    }
  }
  return row.back();
}

std::string lower_case(std::string_view text) {
  std::string lower(text);
  for (char& c : lower)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  return lower;
}
}  // namespace

std::string nearest(std::string_view word, std::span<const std::string> candidates) {
  const std::string lower = lower_case(word);
  std::string best;
  size_t best_distance = std::max<size_t>(2, word.size() / 3) + 1;
  for (const std::string& candidate : candidates) {
    const size_t distance = edit_distance(lower, lower_case(candidate));
    if (distance < best_distance) best = candidate, best_distance = distance;
  }
  return best;
}

}  // namespace shoal
