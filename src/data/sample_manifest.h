// manifest.json of a sample store: its schema, its shards (docs/sample_store.md).
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "data/manifest.h"

namespace shoal::data {

enum class SampleType { kU8, kI8, kI16, kI32, kI64, kF16, kBF16, kF32, kF64, kBool };
inline constexpr std::array<std::string_view, 10> kSampleTypeNames = {"U8",  "I8",   "I16", "I32", "I64",
                                                                      "F16", "BF16", "F32", "F64", "BOOL"};
std::string_view name_of(SampleType);
int64_t bytes_of(SampleType);

/// One tensor of every sample.
struct SampleField {
  std::string name;
  SampleType type = SampleType::kU8;
  std::vector<int64_t> shape;  // the first dim may be -1: it varies
  int64_t longest = 0;         // of the store's samples, where the first dim varies

  bool varies() const { return !shape.empty() && shape[0] == -1; }
  /// Of all dims that do not vary, times the bytes of a number.
  int64_t bytes_of_row() const;
  friend bool operator==(const SampleField&, const SampleField&) = default;
};
/// "U8 [-1, 3]"
std::string type_text(SampleType, const std::vector<int64_t>& shape);

inline constexpr int64_t kLongestKey = 4096;                  // bytes
inline constexpr int64_t kMaxSampleBytes = int64_t{1} << 40;  // of one field: what no count overflows at

/// Throws InputError, beginning with `place`, for what cannot be a schema: none or unnamed fields, two of a
/// name, dims that are not, too many bytes.
void check_schema(const std::string& place, const std::vector<SampleField>&);

struct SampleManifest {
  struct Shard {
    std::string file;
    int64_t samples = 0;
    int64_t bytes = 0;
    std::string checksum;
  };
  struct SplitPart {
    int64_t samples = 0;
    std::vector<Shard> shards;
  };
  std::vector<SampleField> fields;
  int64_t validation_every = 0;
  int64_t shard_bytes = 0;
  std::array<SplitPart, 2> splits;  // by Split

  const SplitPart& operator[](Split split) const { return splits[static_cast<size_t>(split)]; }
  SplitPart& operator[](Split split) { return splits[static_cast<size_t>(split)]; }
};

std::string to_json(const SampleManifest&);
/// Reads and checks FOLDER/manifest.json. Throws InputError.
SampleManifest load_sample_manifest(const std::filesystem::path& folder);
/// Whether the folder says that it is one; what else is wrong with it is for load_sample_manifest to say.
bool is_sample_store(const std::filesystem::path& folder);

/// The split that a sample belongs to by its key.
Split split_of(std::string_view key, int64_t validation_every);

/// So many bytes are in front of the next multiple of 8.
inline int64_t padded(int64_t bytes) { return (bytes + 7) / 8 * 8; }

}  // namespace shoal::data
