#include "data/sample_shards.h"

#include <algorithm>

namespace shoal::data {

namespace {
constexpr const char* kRepair = "write the store again";
}  // namespace

SampleShards::SampleShards(const std::filesystem::path& folder)
    : folder_(folder), manifest_(load_sample_manifest(folder)) {
  for (Split split : kSplits) {
    int64_t first = 0;
    for (const SampleManifest::Shard& shard : manifest_[split].shards) {
      shards_[static_cast<size_t>(split)].push_back(
          {first, shard.samples,
           std::make_unique<MappedFile>(folder_ / shard.file, shard.bytes, shard.checksum, kRepair)});
      first += shard.samples;
    }
  }
}

std::span<const std::byte> SampleShards::bytes(const Shard& shard) const {
  return shard.file->verified([&](std::span<const std::byte> bytes) {
    each_record(shard.file->path().string(), manifest_.fields, bytes, shard.samples,
                [](const SampleView&) {});
  });
}

SampleView SampleShards::sample(Split split, int64_t index) const {
  const auto& shards = shards_[static_cast<size_t>(split)];
  const Shard& shard = *std::prev(std::upper_bound(
      shards.begin(), shards.end(), index, [](int64_t i, const Shard& other) { return i < other.first; }));
  return record(manifest_.fields, bytes(shard), shard.samples, index - shard.first);
}

void SampleShards::verify() const {
  for (Split split : kSplits) {
    for (const Shard& shard : shards_[static_cast<size_t>(split)]) bytes(shard);
  }
}

}  // namespace shoal::data
