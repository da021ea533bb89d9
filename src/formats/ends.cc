#include "formats/ends.h"

#include <algorithm>

namespace shoal::formats {

void add_ends(text::TokenizerSpec& spec, const std::vector<int64_t>& ends) {
  const auto size = static_cast<int64_t>(spec.vocabulary.size());
  const auto add = [&](int64_t token) {
    if (token >= 0 && token < size && !std::ranges::count(spec.ends, static_cast<text::Token>(token)))
      spec.ends.push_back(static_cast<text::Token>(token));
  };
  for (const int64_t token : ends) add(token);
  text::add_known_ends(spec);
}

}  // namespace shoal::formats
