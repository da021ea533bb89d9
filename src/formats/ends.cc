#include "formats/ends.h"

#include <algorithm>
#include <string_view>

namespace shoal::formats {

void add_ends(text::TokenizerSpec& spec, const std::vector<int64_t>& ends) {
  static constexpr std::string_view kEndNames[] = {
      "<|im_end|>", "<|eot_id|>", "<|eom_id|>", "<|end_of_text|>", "<|endoftext|>", "</s>", "<end_of_turn>"};
  const auto size = static_cast<int64_t>(spec.vocabulary.size());
  const auto add = [&](int64_t token) {
    if (token >= 0 && token < size && !std::ranges::count(spec.ends, static_cast<text::Token>(token)))
      spec.ends.push_back(static_cast<text::Token>(token));
  };
  for (const int64_t token : ends) add(token);
  for (int64_t token = 0; token < size; ++token) {
    const text::VocabularyEntry& entry = spec.vocabulary[static_cast<size_t>(token)];
    if (entry.kind == text::TokenKind::kControl && std::ranges::count(kEndNames, entry.text)) add(token);
  }
}

}  // namespace shoal::formats
