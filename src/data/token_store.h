// Reading a token store (docs/token_store.md).
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <vector>

#include "data/manifest.h"
#include "data/mapped_file.h"

namespace shoal::data {

/// A token store, mapped read-only. Threads: const functions from any.
/// Opening compares the size of every shard with the manifest; a shard's checksum is compared once, when a
/// token of it is first asked for: about a millisecond for 8 MiB in memory. So no token of a damaged shard is
/// ever handed out. The files must stay as they are while the store is open. Errors: InputError.
class TokenStore {
 public:
  explicit TokenStore(const std::filesystem::path& folder);

  const std::filesystem::path& folder() const { return folder_; }
  const Manifest& manifest() const { return manifest_; }
  int64_t num_tokens(Split split) const { return manifest_[split].tokens; }

  /// Fills `out` with the tokens from `begin` on. REQUIRES: they are within the split.
  void tokens(Split split, int64_t begin, std::span<int64_t> out) const;

  /// Compares the checksums of all shards now.
  void verify() const;

 private:
  std::span<const uint16_t> shard(Split split, size_t index) const;

  std::filesystem::path folder_;
  Manifest manifest_;
  std::array<std::vector<std::unique_ptr<MappedFile>>, 2> shards_;  // by Split
};

}  // namespace shoal::data
