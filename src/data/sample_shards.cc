#include "data/sample_shards.h"

#include <algorithm>
#include <cstring>
#include <optional>

#include "base/text.h"
#include "shoal/error.h"

namespace shoal::data {

namespace {
constexpr const char* kRepair = "write the store again";

int64_t number_at(std::span<const std::byte> bytes, int64_t offset) {
  int64_t number = 0;
  std::memcpy(&number, bytes.data() + offset, sizeof number);
  return number;
}

/// The record in [begin, end); none where its lengths do not fill that exactly.
std::optional<SampleView> parse(const std::vector<SampleField>& fields, std::span<const std::byte> bytes,
                                int64_t begin, int64_t end) {
  int64_t at = begin;
  const auto take_number = [&](int64_t most) -> std::optional<int64_t> {
    if (end - at < 8) return std::nullopt;
    const int64_t number = number_at(bytes, at);
    at += 8;
    if (number < 0 || number > most) return std::nullopt;
    return number;
  };
  const auto take = [&](int64_t size) -> std::optional<std::span<const std::byte>> {
    if (padded(size) > end - at) return std::nullopt;
    const auto found = bytes.subspan(static_cast<size_t>(at), static_cast<size_t>(size));
    at += padded(size);
    return found;
  };
  SampleView sample;
  const auto key_bytes = take_number(kLongestKey);
  if (!key_bytes) return std::nullopt;
  const auto key = take(*key_bytes);
  if (!key) return std::nullopt;
  sample.key = {reinterpret_cast<const char*>(key->data()), key->size()};
  for (const SampleField& field : fields) {
    const int64_t row = field.bytes_of_row();
    const auto length =
        field.varies() ? take_number(std::min(field.longest, (end - at) / row)) : std::optional<int64_t>(1);
    if (!length) return std::nullopt;
    const auto data = take(*length * row);
    if (!data) return std::nullopt;
    sample.values.push_back({field.varies() ? *length : 0, *data});
  }
  if (at != end) return std::nullopt;
  return sample;
}

/// Where the index of a shard begins.
int64_t index_of(std::span<const std::byte> bytes, int64_t samples) {
  return static_cast<int64_t>(bytes.size()) - 8 * (samples + 1);
}

void check_records(const std::string& place, const std::vector<SampleField>& fields,
                   std::span<const std::byte> bytes, int64_t samples) {
  const int64_t index = index_of(bytes, samples);
  int64_t begin = 0;
  for (int64_t i = 0; i < samples; ++i) {
    const int64_t end = number_at(bytes, index + 8 * (i + 1));
    const bool is_next =
        number_at(bytes, index + 8 * i) == begin && end > begin && end <= index && end % 8 == 0;
    if (!is_next || !parse(fields, bytes, begin, end))
      throw InputError(cat(place, " - record ", i,
                           " does not fit the schema, so no SampleStoreWriter wrote it; ", kRepair));
    begin = end;
  }
  if (begin != index)
    throw InputError(cat(place, " - records: got ", begin, " bytes, want ", index, "; ", kRepair));
}

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
    check_records(shard.file->path().string(), manifest_.fields, bytes, shard.samples);
  });
}

SampleView SampleShards::sample(Split split, int64_t index) const {
  const auto& shards = shards_[static_cast<size_t>(split)];
  const Shard& shard = *std::prev(std::upper_bound(
      shards.begin(), shards.end(), index, [](int64_t i, const Shard& other) { return i < other.first; }));
  const auto bytes = this->bytes(shard);
  const int64_t entry = index_of(bytes, shard.samples) + 8 * (index - shard.first);
  return *parse(manifest_.fields, bytes, number_at(bytes, entry), number_at(bytes, entry + 8));
}

void SampleShards::verify() const {
  for (Split split : kSplits) {
    for (const Shard& shard : shards_[static_cast<size_t>(split)]) bytes(shard);
  }
}

}  // namespace shoal::data
