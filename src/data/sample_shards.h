// Reading a sample store (docs/sample_store.md).
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "data/mapped_file.h"
#include "data/sample_manifest.h"
#include "data/sample_record.h"

namespace shoal::data {

/// A sample store, mapped read-only. Threads: const functions from any. Opening compares the size of every
/// shard; a shard's checksum is compared, and its records are walked through, when a sample of it is first
/// asked for. The files must stay as they are while the store is open, and views live as long as it. Errors:
/// InputError.
class SampleShards {
 public:
  explicit SampleShards(const std::filesystem::path& folder);

  const std::filesystem::path& folder() const { return folder_; }
  const SampleManifest& manifest() const { return manifest_; }
  int64_t num_samples(Split split) const { return manifest_[split].samples; }

  /// REQUIRES: 0 <= index < num_samples(split).
  SampleView sample(Split split, int64_t index) const;
  /// Compares the checksums of all shards now.
  void verify() const;
  /// What `shoal data show` prints: fields, counts, sizes, lengths as a histogram, the first samples.
  std::string describe() const;

 private:
  struct Shard {
    int64_t first = 0;  // sample
    int64_t samples = 0;
    std::unique_ptr<MappedFile> file;
  };
  std::span<const std::byte> bytes(const Shard&) const;

  std::filesystem::path folder_;
  SampleManifest manifest_;
  std::array<std::vector<Shard>, 2> shards_;  // by Split
};

}  // namespace shoal::data
