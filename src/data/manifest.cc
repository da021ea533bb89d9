#include "data/manifest.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <numeric>

#include "base/text.h"
#include "data/files.h"
#include "data/sealed_json.h"
#include "shoal/error.h"

namespace shoal::data {

namespace {
using Json = nlohmann::ordered_json;

constexpr Sealed kTokenStore = {"shoal token store",
                                2,
                                "token store",
                                "a folder that shoal data finished",
                                "delete the folder and build it again with shoal data",
                                1};

/// Of version 2: names of the split, one after another, none empty, adding up.
bool is_consistent_2(const Manifest& manifest) {
  for (Split split : kSplits) {
    int64_t tokens = 0, documents = 0;
    std::string last;
    for (const Manifest::Shard& shard : manifest[split].shards) {
      if (!is_next_shard(split, ".tokens", shard.file, last) || shard.tokens < 1 || shard.documents < 1)
        return false;
      tokens += shard.tokens;
      documents += shard.documents;
      last = shard.file;
    }
    if (tokens != manifest[split].tokens || documents != manifest[split].documents) return false;
  }
  const int64_t most = manifest.token_bytes == 2 ? int64_t{1} << 16 : int64_t{1} << 31;
  return manifest.tokenizer.vocabulary >= 1 && manifest.tokenizer.vocabulary <= most &&
         manifest.tokenizer.end_of_document < manifest.tokenizer.vocabulary;
}

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

std::string lengths_file(const std::string& tokens_file) {
  return tokens_file.substr(0, tokens_file.size() - std::string_view(".tokens").size()) + ".lengths";
}

bool is_token_store(const std::filesystem::path& folder) {
  std::error_code missing;
  return std::filesystem::exists(folder / kManifestName, missing) &&
         read_whole(folder / kManifestName).find(cat("\"format\": \"", kTokenStore.format, "\"")) !=
             std::string::npos;
}

bool is_store_file(std::string_view name) {
  if (name.ends_with(".part")) name.remove_suffix(5);
  return name == kManifestName || is_shard_name(name, ".tokens") || is_shard_name(name, ".sum") ||
         is_shard_name(name, ".lengths");
}

bool is_shard_name(std::string_view name, std::string_view suffix) {
  if (!name.ends_with(suffix)) return false;
  name.remove_suffix(suffix.size());
  const size_t digits = name.find_first_of("0123456789");
  if (digits == std::string_view::npos || name.size() - digits < 5) return false;
  const std::string_view stem = name.substr(0, digits);
  return (stem == "train-" || stem == "validation-") &&
         name.find_first_not_of("0123456789", digits) == std::string_view::npos;
}

bool is_next_shard(Split split, std::string_view suffix, const std::string& file, const std::string& last) {
  const bool is_behind = file.size() != last.size() ? file.size() > last.size() : file > last;
  return is_behind && is_shard_name(file, suffix) && file.starts_with(cat(split_name(split), "-"));
}

std::string to_json(const Manifest& manifest) {
  const bool is_first = manifest.version == 1;
  Json json = {
      {"format", kTokenStore.format}, {"version", manifest.version}, {"tokenizer", manifest.tokenizer.kind}};
  if (!is_first) json["tokenizer_identity"] = manifest.tokenizer.identity;
  json["vocabulary"] = manifest.tokenizer.vocabulary;
  json["end_of_document"] = manifest.tokenizer.end_of_document;
  json["dtype"] = manifest.token_bytes == 2 ? "u16le" : "u32le";
  if (is_first) json["shard_tokens"] = manifest.shard_tokens;
  json["documents"] = manifest[Split::kTrain].documents + manifest[Split::kValidation].documents;
  json["input"] = manifest.input;
  for (Split split : kSplits) {
    const Manifest::SplitPart& part = manifest[split];
    Json shards = Json::array();
    for (const Manifest::Shard& shard : part.shards) {
      shards.push_back({{"file", shard.file}, {"tokens", shard.tokens}, {"checksum", shard.checksum}});
      if (is_first) continue;
      shards.back()["documents"] = shard.documents;
      shards.back()["lengths_checksum"] = shard.lengths_checksum;
    }
    json["splits"][std::string(split_name(split))] = {{"documents", part.documents},
                                                      {"tokens", part.tokens},
                                                      {"unigram_entropy", part.unigram_entropy},
                                                      {"shards", std::move(shards)}};
  }
  if (!is_first && !manifest.made_by.empty()) json["made_by"] = Json::parse(manifest.made_by);
  return seal(std::move(json));
}

Manifest load_manifest(const std::filesystem::path& folder) {
  Manifest manifest;
  read_sealed(folder, kTokenStore, [&](const Json& json) {
    manifest = Manifest();
    manifest.version = json.at("version");
    const bool is_first = manifest.version == 1;
    manifest.tokenizer = {json.at("tokenizer"), is_first ? "" : json.at("tokenizer_identity"),
                          json.at("vocabulary"), json.at("end_of_document")};
    manifest.token_bytes = json.at("dtype") == "u32le" ? 4 : 2;
    if (is_first) manifest.shard_tokens = json.at("shard_tokens");
    manifest.input = json.at("input");
    for (Split split : kSplits) {
      const Json& part = json.at("splits").at(std::string(split_name(split)));
      manifest[split] = {part.at("documents"), part.at("tokens"), part.at("unigram_entropy"), {}};
      for (const Json& shard : part.at("shards")) {
        manifest[split].shards.push_back({shard.at("file"), shard.at("tokens"), shard.at("checksum")});
        if (is_first) continue;
        manifest[split].shards.back().documents = shard.at("documents");
        manifest[split].shards.back().lengths_checksum = shard.at("lengths_checksum");
      }
    }
    if (json.contains("made_by")) manifest.made_by = json.at("made_by").dump(2);
    const bool is_bytes =
        manifest.tokenizer.kind == "bytes" && manifest.tokenizer.vocabulary == kByteVocabulary;
    if (is_first ? !is_bytes || !is_consistent(manifest) : !is_consistent_2(manifest)) {
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
