// manifest.json of a token store, and the names of its files (docs/token_store.md).
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace shoal::data {

inline constexpr int64_t kEndOfDocument = 256;
inline constexpr int64_t kByteVocabulary = 257;

enum class Split { kTrain, kValidation };
inline constexpr std::array<Split, 2> kSplits = {Split::kTrain, Split::kValidation};
std::string_view split_name(Split);

inline constexpr const char* kManifestName = "manifest.json";
/// "train-00000": the name of a shard's files, without ".tokens" or ".sum".
std::string shard_stem(Split, int64_t index);
/// Whether a token store or the unfinished work on one can hold a file of this name.
bool is_store_file(std::string_view name);

struct Manifest {
  struct Shard {
    std::string file;
    int64_t tokens = 0;
    std::string checksum;
  };
  struct SplitPart {
    int64_t documents = 0;
    int64_t tokens = 0;
    double unigram_entropy = 0;  // nats
    std::vector<Shard> shards;
  };
  int64_t shard_tokens = 0;
  std::string input;
  std::array<SplitPart, 2> splits;  // by Split

  const SplitPart& operator[](Split split) const { return splits[static_cast<size_t>(split)]; }
  SplitPart& operator[](Split split) { return splits[static_cast<size_t>(split)]; }
};

std::string to_json(const Manifest&);

/// Reads and checks FOLDER/manifest.json. Throws InputError when it is missing, damaged, or of another
/// format.
Manifest load_manifest(const std::filesystem::path& folder);

/// - sum of p ln p, in nats; 0 when nothing was counted.
double unigram_entropy(const std::vector<int64_t>& counts);

}  // namespace shoal::data
