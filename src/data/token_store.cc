#include "data/token_store.h"

#include <algorithm>

namespace shoal::data {

TokenStore::TokenStore(const std::filesystem::path& folder)
    : folder_(folder), manifest_(load_manifest(folder)) {
  for (Split split : kSplits) {
    for (const Manifest::Shard& shard : manifest_[split].shards) {
      shards_[static_cast<size_t>(split)].push_back(std::make_unique<MappedFile>(
          folder_ / shard.file, shard.tokens * static_cast<int64_t>(sizeof(uint16_t)), shard.checksum,
          "run shoal data again to repair the store"));
    }
  }
}

std::span<const uint16_t> TokenStore::shard(Split split, size_t index) const {
  const auto bytes = shards_[static_cast<size_t>(split)][index]->verified();
  return {reinterpret_cast<const uint16_t*>(bytes.data()), bytes.size() / sizeof(uint16_t)};
}

void TokenStore::tokens(Split split, int64_t begin, std::span<int64_t> out) const {
  while (!out.empty()) {
    const auto from = shard(split, static_cast<size_t>(begin / manifest_.shard_tokens))
                          .subspan(static_cast<size_t>(begin % manifest_.shard_tokens));
    const size_t count = std::min(from.size(), out.size());
    std::copy_n(from.begin(), count, out.begin());
    out = out.subspan(count);
    begin += static_cast<int64_t>(count);
  }
}

void TokenStore::verify() const {
  for (Split split : kSplits) {
    for (size_t i = 0; i < manifest_[split].shards.size(); ++i) shard(split, i);
  }
}

}  // namespace shoal::data
