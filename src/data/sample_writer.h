// Writing a sample store (docs/sample_store.md).
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <unordered_set>
#include <vector>

#include "data/files.h"
#include "data/sample_manifest.h"
#include "data/sample_record.h"

namespace shoal::data {

/// Writes FOLDER.part, which finish() renames to FOLDER: until then, and without it, there is no store. One
/// thread. Errors: InputError for a folder that is there or that another writer is at, a schema or a sample
/// that does not fit; JobError where the disk does not take it.
class SampleWriter {
 public:
  /// `on_step` is told of each change to the folder before it is made.
  SampleWriter(
      std::filesystem::path folder, std::vector<SampleField> fields, int64_t validation_every,
      int64_t shard_bytes, OnStep on_step = [](const std::string&) {});
  /// Unfinished work is removed.
  ~SampleWriter();

  /// REQUIRES: a value for each field.
  void add(const std::string& key, std::span<const FieldValue> values);
  SampleManifest finish();

 private:
  struct OpenShard {
    std::vector<std::byte> bytes;
    std::vector<int64_t> offsets;  // of records
  };
  void check(const std::string& key, std::span<const FieldValue> values) const;
  void close_shard(Split);

  std::filesystem::path folder_, part_;
  SampleManifest manifest_;
  OnStep on_step_;
  std::unique_ptr<FolderLock> lock_;
  std::array<OpenShard, 2> open_;         // by Split
  std::unordered_set<std::string> keys_;  // their hashes
  bool is_finished_ = false;
};

}  // namespace shoal::data
