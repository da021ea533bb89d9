// Text with one passage changed.
#pragma once

#include <string>

namespace shoal::test {

inline std::string replaced(std::string text, const std::string& from, const std::string& to) {
  return text.replace(text.find(from), from.size(), to);
}

}  // namespace shoal::test
