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
/// Whether it is a shard's stem and this suffix.
bool is_shard_name(std::string_view name, std::string_view suffix);
/// Whether `file` is such a name of the split, and its number behind that of `last`; "": none is before it.
bool is_next_shard(Split, std::string_view suffix, const std::string& file, const std::string& last);
/// "train-00000.lengths" of "train-00000.tokens": the lengths of its documents, in tokens, u32 each.
std::string lengths_file(const std::string& tokens_file);
/// Whether the folder has the manifest of a token store.
bool is_token_store(const std::filesystem::path& folder);
/// Whether a token store or the unfinished work on one can hold a file of this name.
bool is_store_file(std::string_view name);

/// Version 1: bytes, as `shoal data` with `inputs` writes them, shards of one length. Version 2: tokens of
/// any tokenizer, as a flow writes them, a shard for each of its parts that has some.
struct Manifest {
  struct Shard {
    std::string file;
    int64_t tokens = 0;
    std::string checksum;
    // of version 2
    int64_t documents = 0;
    std::string lengths_checksum;
  };
  struct Tokenizer {
    std::string kind = "bytes";  // "byte pairs", "SentencePiece"
    std::string identity;        // a hash of all that it says; of bytes ""
    int64_t vocabulary = kByteVocabulary;
    int64_t end_of_document = kEndOfDocument;  // -1: none, documents follow each other
  };
  struct SplitPart {
    int64_t documents = 0;
    int64_t tokens = 0;
    double unigram_entropy = 0;  // nats
    std::vector<Shard> shards;
  };
  int version = 1;
  Tokenizer tokenizer;
  int64_t token_bytes = 2;
  int64_t shard_tokens = 0;  // of version 1
  std::string input;
  std::array<SplitPart, 2> splits;  // by Split
  std::string made_by;              // of version 2: what its maker says of itself, JSON

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
