#include "text/normal_form.h"

#include <utf8proc.h>

#include <algorithm>
#include <array>
#include <vector>

#include "text/utf8.h"

namespace shoal::text {
namespace {

int combining_class(int32_t code) { return utf8proc_get_property(code)->combining_class; }

}  // namespace

std::string normal_form_c(std::string_view text) {
  // Below U+0300 everything is in this form.
  if (std::none_of(text.begin(), text.end(), [](unsigned char byte) { return byte >= 0xCC; }))
    return std::string(text);
  // utf8proc_decompose would do these two steps in one, but orders marks in O(n^2).
  std::vector<int32_t> codes;
  codes.reserve(text.size());
  for (size_t at = 0; at < text.size();) {
    const Character character = character_at(text, at);
    at += character.bytes;
    std::array<int32_t, 32> parts;
    int boundary = 0;
    const auto count = utf8proc_decompose_char(static_cast<int32_t>(character.code), parts.data(),
                                               parts.size(), UTF8PROC_DECOMPOSE, &boundary);
    codes.insert(codes.end(), parts.begin(), parts.begin() + count);
  }
  for (auto mark = codes.begin(); mark != codes.end();) {
    if (combining_class(*mark) == 0) {
      ++mark;
      continue;
    }
    const auto end = std::find_if(mark, codes.end(), [](int32_t code) { return combining_class(code) == 0; });
    std::stable_sort(mark, end, [](int32_t a, int32_t b) { return combining_class(a) < combining_class(b); });
    mark = end;
  }
  codes.resize(utf8proc_normalize_utf32(codes.data(), static_cast<utf8proc_ssize_t>(codes.size()),
                                        static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_COMPOSE)));
  std::string normal;
  normal.reserve(text.size());
  for (const int32_t code : codes) append_utf8(normal, static_cast<char32_t>(code));
  return normal;
}

}  // namespace shoal::text
