// The bytes of a shard of samples: records, and behind them an index of where each begins
// (docs/sample_store.md).
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "data/sample_manifest.h"

namespace shoal::data {

/// The numbers of one field of one sample.
struct FieldValue {
  int64_t length = 0;  // the first dim, where it varies
  std::span<const std::byte> bytes;
};

/// A sample where it lies in its shard.
struct SampleView {
  std::string_view key;
  std::vector<FieldValue> values;  // one for each field
};

/// So many bytes are in front of the next multiple of 8.
inline int64_t padded(int64_t bytes) { return (bytes + 7) / 8 * 8; }

/// Bytes that append_record() appends.
int64_t record_bytes(const std::vector<SampleField>&, std::string_view key, std::span<const FieldValue>);
/// REQUIRES: `to` has a multiple of 8 bytes, and a value for each field fits it.
void append_record(std::vector<std::byte>& to, const std::vector<SampleField>&, std::string_view key,
                   std::span<const FieldValue>);

/// What the index takes at the end of a shard, and where in it that begins.
inline int64_t index_bytes(int64_t samples) { return 8 * (samples + 1); }
inline int64_t index_of(std::span<const std::byte> shard, int64_t samples) {
  return static_cast<int64_t>(shard.size()) - index_bytes(samples);
}

/// Record `sample` of a shard. REQUIRES: each_record() went through the shard.
SampleView record(const std::vector<SampleField>&, std::span<const std::byte> shard, int64_t samples,
                  int64_t sample);
/// Walks through the records of a shard, whatever its bytes are. Throws InputError "place - ..." where they
/// and the index do not fill it as the schema says.
void each_record(const std::string& place, const std::vector<SampleField>&, std::span<const std::byte> shard,
                 int64_t samples, const std::function<void(const SampleView&)>& take);

}  // namespace shoal::data
