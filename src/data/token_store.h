// Reading a token store (docs/token_store.md).
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <utility>
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

  /// Where documents begin among the tokens [begin, begin + count) of a split, ascending: what masks between
  /// documents are made of. REQUIRES: they are within the split.
  std::vector<int64_t> document_starts(Split split, int64_t begin, int64_t count) const;

  /// The lengths of all documents of a split, in tokens, their end included.
  std::vector<int64_t> document_lengths(Split split) const;

  /// Compares the checksums of all shards now.
  void verify() const;

  /// What is in it, as text for people: counts, vocabulary, a histogram of the lengths of documents.
  std::string describe() const;

 private:
  struct Shard {
    int64_t begin;                                // of its tokens, in the split
    std::unique_ptr<MappedFile> tokens, lengths;  // of version 1 no lengths
  };
  const std::vector<Shard>& shards(Split split) const { return shards_[static_cast<size_t>(split)]; }
  /// The shard that has the token, and where in it.
  std::pair<const Shard*, int64_t> find(Split split, int64_t token) const;
  template <class Token>
  void copy(Split split, int64_t begin, std::span<int64_t> out) const;

  std::filesystem::path folder_;
  Manifest manifest_;
  std::array<std::vector<Shard>, 2> shards_;  // by Split
};

}  // namespace shoal::data
