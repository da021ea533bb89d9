#include "text/identity.h"

#include "base/hash.h"
#include "base/text.h"

namespace shoal::text {

std::string identity(const TokenizerSpec& spec) {
  std::string all = cat(static_cast<int>(spec.model), " ", spec.split_digits, spec.ignore_merges,
                        spec.normalize_nfc, spec.add_space_prefix, spec.space_prefix_once, "\n");
  const auto add = [&](const std::string& text) { all += cat(text.size(), " ", text, "\n"); };
  for (const VocabularyEntry& entry : spec.vocabulary) {
    add(entry.text);
    all += cat(static_cast<int>(entry.kind), " ", spec.merges.empty() ? entry.score : 0, "\n");
  }
  for (const auto& [left, right] : spec.merges) add(left), add(right);
  for (const std::string& split : spec.splits) add(split);
  for (const auto& token : {spec.bos, spec.eos, spec.unknown}) all += cat(token ? *token : -1, " ");
  return hash_hex(all);
}

}  // namespace shoal::text
