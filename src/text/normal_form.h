// Unicode's normal form C (UAX 15): a letter and its marks as one character where there is one.
#pragma once

#include <string>
#include <string_view>

namespace shoal::text {

/// REQUIRES: text is UTF-8. Takes O(n log n), whatever the marks.
std::string normal_form_c(std::string_view text);

}  // namespace shoal::text
