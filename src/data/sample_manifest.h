// manifest.json of a sample store: its schema, its shards (docs/sample_store.md).
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "data/manifest.h"

namespace shoal::data {

enum class SampleType { kU8, kI8, kI16, kI32, kI64, kF16, kBF16, kF32, kF64, kBool };
inline constexpr std::array<std::string_view, 10> kSampleTypeNames = {"U8",  "I8",   "I16", "I32", "I64",
                                                                      "F16", "BF16", "F32", "F64", "BOOL"};
std::string_view name_of(SampleType);
std::optional<SampleType> sample_type(std::string_view name);
int64_t bytes_of(SampleType);

/// One tensor of every sample.
struct SampleField {
  std::string name;
  SampleType type = SampleType::kU8;
  std::vector<int64_t> shape;  // the first dim may be -1: it varies
  int64_t longest = 0;         // of the store's samples, where the first dim varies
  std::vector<std::string> classes = {};  // what its numbers 0, 1, ... stand for, where that is known

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

/// Version 1: as a SampleStoreWriter writes it, cut by shard_bytes. Version 2: as a flow writes it, a shard for
/// each of its parts that has samples.
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
  int version = 1;
  std::vector<SampleField> fields;
  int64_t validation_every = 0, shard_bytes = 0;  // of version 1
  std::string input, made_by;                     // of version 2: what it was made of, and what its maker says, JSON
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
/// The file that version 2 has for what part `part` of a flow gave to a split.
std::string samples_file(Split, int64_t part);
/// Whether a sample store or a flow that makes one can hold a file of this name, apart from the manifest.
bool is_samples_file(std::string_view name);

}  // namespace shoal::data
