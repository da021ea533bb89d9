#include "data/sample_record.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "base/text.h"
#include "shoal/error.h"

namespace shoal::data {

namespace {
static_assert(std::endian::native == std::endian::little, "numbers are stored as they lie in memory");

void append(std::vector<std::byte>& to, std::span<const std::byte> bytes) {
  to.insert(to.end(), bytes.begin(), bytes.end());
  to.resize(static_cast<size_t>(padded(static_cast<int64_t>(to.size()))));
}

void append(std::vector<std::byte>& to, int64_t number) { append(to, std::as_bytes(std::span(&number, 1))); }

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

constexpr const char* kRepair = "write the store again";
}  // namespace

int64_t record_bytes(const std::vector<SampleField>& fields, std::string_view key,
                     std::span<const FieldValue> values) {
  int64_t size = 8 + padded(static_cast<int64_t>(key.size()));
  for (size_t i = 0; i < values.size(); ++i)
    size += padded(static_cast<int64_t>(values[i].bytes.size())) + (fields[i].varies() ? 8 : 0);
  return size;
}

void append_record(std::vector<std::byte>& to, const std::vector<SampleField>& fields, std::string_view key,
                   std::span<const FieldValue> values) {
  append(to, static_cast<int64_t>(key.size()));
  append(to, std::as_bytes(std::span(key)));
  for (size_t i = 0; i < values.size(); ++i) {
    if (fields[i].varies()) append(to, values[i].length);
    append(to, values[i].bytes);
  }
}

SampleView record(const std::vector<SampleField>& fields, std::span<const std::byte> shard, int64_t samples,
                  int64_t sample) {
  const int64_t entry = index_of(shard, samples) + 8 * sample;
  return *parse(fields, shard, number_at(shard, entry), number_at(shard, entry + 8));
}

void each_record(const std::string& place, const std::vector<SampleField>& fields,
                 std::span<const std::byte> shard, int64_t samples,
                 const std::function<void(const SampleView&)>& take) {
  const int64_t index = index_of(shard, samples);
  int64_t begin = 0;
  for (int64_t i = 0; i < samples; ++i) {
    const int64_t end = number_at(shard, index + 8 * (i + 1));
    const bool is_next =
        number_at(shard, index + 8 * i) == begin && end > begin && end <= index && end % 8 == 0;
    const auto sample = is_next ? parse(fields, shard, begin, end) : std::nullopt;
    if (!sample)
      throw InputError(
          cat(place, " - record ", i, " does not fit the schema, so Shoal did not write it; ", kRepair));
    take(*sample);
    begin = end;
  }
  if (begin != index)
    throw InputError(cat(place, " - records: got ", begin, " bytes, want ", index, "; ", kRepair));
}

}  // namespace shoal::data
