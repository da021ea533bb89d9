#include "data/manifest.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <numeric>

#include "base/text.h"
#include "data/sealed_json.h"
#include "shoal/error.h"

namespace shoal::data {

namespace {
using Json = nlohmann::ordered_json;

constexpr Sealed kTokenStore = {"shoal token store", 1, "token store", "a folder that shoal data finished",
                                "delete the folder and build it again with shoal data"};

/// The shards are those of docs/token_store.md: right names, all full but the last, adding up.
bool is_consistent(const Manifest& manifest) {
  for (Split split : kSplits) {
    int64_t left = manifest[split].tokens, index = 0;
    for (const Manifest::Shard& shard : manifest[split].shards) {
      if (shard.file != shard_stem(split, index++) + ".tokens") return false;
      if (left <= 0 || shard.tokens != std::min(left, manifest.shard_tokens)) return false;
      left -= shard.tokens;
    }
    if (left != 0) return false;
  }
  return true;
}
}  // namespace

std::string_view split_name(Split split) { return split == Split::kTrain ? "train" : "validation"; }

std::string shard_stem(Split split, int64_t index) {
  char digits[24];
  std::snprintf(digits, sizeof digits, "-%05lld", static_cast<long long>(index));
  return std::string(split_name(split)) + digits;
}

bool is_store_file(std::string_view name) {
  const auto drop_suffix = [&](std::string_view suffix) {
    const bool has = name.ends_with(suffix);
    if (has) name.remove_suffix(suffix.size());
    return has;
  };
  drop_suffix(".part");
  if (name == kManifestName) return true;
  if (!drop_suffix(".tokens") && !drop_suffix(".sum")) return false;
  const size_t digits = name.find_first_of("0123456789");
  if (digits == std::string_view::npos || name.size() - digits < 5) return false;
  const std::string_view stem = name.substr(0, digits);
  return (stem == "train-" || stem == "validation-") &&
         name.find_first_not_of("0123456789", digits) == std::string_view::npos;
}

std::string to_json(const Manifest& manifest) {
  Json json = {{"format", kTokenStore.format},
               {"version", kTokenStore.version},
               {"tokenizer", "bytes"},
               {"vocabulary", kByteVocabulary},
               {"end_of_document", kEndOfDocument},
               {"dtype", "u16le"},
               {"shard_tokens", manifest.shard_tokens},
               {"documents", manifest[Split::kTrain].documents + manifest[Split::kValidation].documents},
               {"input", manifest.input}};
  for (Split split : kSplits) {
    const Manifest::SplitPart& part = manifest[split];
    Json shards = Json::array();
    for (const auto& [file, tokens, checksum] : part.shards) {
      shards.push_back({{"file", file}, {"tokens", tokens}, {"checksum", checksum}});
    }
    json["splits"][std::string(split_name(split))] = {{"documents", part.documents},
                                                      {"tokens", part.tokens},
                                                      {"unigram_entropy", part.unigram_entropy},
                                                      {"shards", std::move(shards)}};
  }
  return seal(std::move(json));
}

Manifest load_manifest(const std::filesystem::path& folder) {
  Manifest manifest;
  read_sealed(folder, kTokenStore, [&](const Json& json) {
    manifest = {.shard_tokens = json.at("shard_tokens"), .input = json.at("input"), .splits = {}};
    for (Split split : kSplits) {
      const Json& part = json.at("splits").at(std::string(split_name(split)));
      manifest[split] = {part.at("documents"), part.at("tokens"), part.at("unigram_entropy"), {}};
      for (const Json& shard : part.at("shards")) {
        manifest[split].shards.push_back({shard.at("file"), shard.at("tokens"), shard.at("checksum")});
      }
    }
    if (json.at("tokenizer") != "bytes" || json.at("vocabulary") != kByteVocabulary ||
        !is_consistent(manifest)) {
      throw InputError(cat((folder / kManifestName).string(),
                           " - contradicts itself, so shoal data did not write it; ", kTokenStore.rebuild));
    }
  });
  return manifest;
}

double unigram_entropy(const std::vector<int64_t>& counts) {
  const double total = static_cast<double>(std::accumulate(counts.begin(), counts.end(), int64_t{0}));
  double entropy = 0;
  for (int64_t count : counts) {
    const double p = static_cast<double>(count) / total;
    if (count > 0) entropy -= p * std::log(p);
  }
  return entropy;
}

}  // namespace shoal::data
