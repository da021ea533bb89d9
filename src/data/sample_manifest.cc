#include "data/sample_manifest.h"

#include <algorithm>
#include <iterator>
#include <nlohmann/json.hpp>
#include <set>
#include <utility>

#include "base/hash.h"
#include "base/text.h"
#include "data/files.h"
#include "data/sealed_json.h"
#include "shoal/error.h"

namespace shoal::data {

namespace {
using Json = nlohmann::ordered_json;

constexpr Sealed kSampleStore = {"shoal sample store",
                                 2,
                                 "sample store",
                                 "a folder that shoal data or a SampleStoreWriter finished",
                                 "delete the folder and write it again",
                                 1};
constexpr std::string_view kSuffix = ".samples";

/// The shards are those of docs/sample_store.md: right names, none empty, adding up.
bool is_consistent(const SampleManifest& manifest) {
  for (Split split : kSplits) {
    int64_t left = manifest[split].samples, index = 0;
    std::string last;
    for (const SampleManifest::Shard& shard : manifest[split].shards) {
      if (manifest.version == 1 && shard.file != samples_file(split, index++)) return false;
      if (manifest.version == 2 &&
          !is_next_shard(split, kSuffix, shard.file, std::exchange(last, shard.file)))
        return false;
      if (shard.samples < 1 || shard.samples > left || shard.bytes % 8 != 0) return false;
      if (shard.samples > shard.bytes / 24) return false;  // a key, its length, and the index
      left -= shard.samples;
    }
    if (left != 0) return false;
  }
  return manifest.validation_every >= 0 && (manifest.version == 2 || manifest.shard_bytes >= 1);
}

SampleType type_named(const std::string& name) {
  const auto type = sample_type(name);
  if (!type) throw InputError(cat("dtype: got ", name, ", want one of ", join(kSampleTypeNames, ", ")));
  return *type;
}
}  // namespace

std::string_view name_of(SampleType type) { return kSampleTypeNames[static_cast<size_t>(type)]; }

std::optional<SampleType> sample_type(std::string_view name) {
  const auto found = std::find(kSampleTypeNames.begin(), kSampleTypeNames.end(), name);
  if (found == kSampleTypeNames.end()) return std::nullopt;
  return static_cast<SampleType>(found - kSampleTypeNames.begin());
}

int64_t bytes_of(SampleType type) {
  static constexpr std::array<int64_t, 10> kBytes = {1, 1, 2, 4, 8, 2, 2, 4, 8, 1};
  return kBytes[static_cast<size_t>(type)];
}

int64_t SampleField::bytes_of_row() const {
  int64_t bytes = bytes_of(type);
  for (size_t i = varies() ? 1 : 0; i < shape.size(); ++i) bytes *= shape[i];
  return bytes;
}

std::string type_text(SampleType type, const std::vector<int64_t>& shape) {
  return cat(name_of(type), " [", join(shape, ", "), "]");
}

void check_schema(const std::string& place, const std::vector<SampleField>& fields) {
  if (fields.empty()) throw InputError(cat(place, " - fields: got none, want at least one"));
  std::set<std::string> names;
  for (const SampleField& field : fields) {
    const std::string here = cat(place, " - field ", field.name, ": got ");
    const bool is_name = !field.name.empty() && field.name.size() <= 64 &&
                         std::all_of(field.name.begin(), field.name.end(), [](unsigned char c) {
                           return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                                  (c >= '0' && c <= '9') || c == '_' || c == '.' || c == '-';
                         });
    if (!is_name) throw InputError(cat(here, "this name, want 1 to 64 letters, digits, _, . or -"));
    if (!names.insert(field.name).second) throw InputError(cat(here, "two of this name, want one"));
    int64_t left = kMaxSampleBytes / bytes_of(field.type);
    for (size_t i = 0; i < field.shape.size(); ++i) {
      const int64_t dim = field.shape[i];
      if (dim < 1 && !(i == 0 && dim == -1))
        throw InputError(cat(here, type_text(field.type, field.shape),
                             ", want dims of at least 1, or -1 for a first dim that varies"));
      if (dim > left) throw InputError(cat(here, type_text(field.type, field.shape), ", want at most 1 TiB"));
      if (dim > 0) left /= dim;
    }
  }
}

std::string to_json(const SampleManifest& manifest) {
  Json fields = Json::array();
  for (const SampleField& field : manifest.fields) {
    fields.push_back({{"name", field.name}, {"dtype", name_of(field.type)}, {"shape", field.shape}});
    if (field.varies()) fields.back()["longest"] = field.longest;
    if (!field.classes.empty()) fields.back()["classes"] = field.classes;
  }
  Json json = {{"format", kSampleStore.format}, {"version", manifest.version}, {"fields", std::move(fields)}};
  if (manifest.version == 1) {
    json["validation_every"] = manifest.validation_every;
    json["shard_bytes"] = manifest.shard_bytes;
  } else {
    json["input"] = manifest.input;
  }
  for (Split split : kSplits) {
    Json shards = Json::array();
    for (const auto& [file, samples, bytes, checksum] : manifest[split].shards)
      shards.push_back({{"file", file}, {"samples", samples}, {"bytes", bytes}, {"checksum", checksum}});
    json["splits"][std::string(split_name(split))] = {{"samples", manifest[split].samples},
                                                      {"shards", std::move(shards)}};
  }
  if (!manifest.made_by.empty()) json["made_by"] = Json::parse(manifest.made_by);
  return seal(std::move(json));
}

SampleManifest load_sample_manifest(const std::filesystem::path& folder) {
  SampleManifest manifest;
  read_sealed(folder, kSampleStore, [&](const Json& json) {
    const std::string place = (folder / kManifestName).string();
    try {
      manifest.version = json.at("version");
      for (const Json& field : json.at("fields")) {
        manifest.fields.push_back({field.at("name"), type_named(field.at("dtype")), field.at("shape"),
                                   field.value("longest", int64_t{0}),
                                   field.value("classes", std::vector<std::string>())});
      }
      check_schema(place, manifest.fields);
      if (manifest.version == 1) {
        manifest.validation_every = json.at("validation_every");
        manifest.shard_bytes = json.at("shard_bytes");
      } else {
        manifest.input = json.at("input");
      }
      if (json.contains("made_by")) manifest.made_by = json.at("made_by").dump(2);
      for (Split split : kSplits) {
        const Json& part = json.at("splits").at(std::string(split_name(split)));
        manifest[split].samples = part.at("samples");
        for (const Json& shard : part.at("shards"))
          manifest[split].shards.push_back(
              {shard.at("file"), shard.at("samples"), shard.at("bytes"), shard.at("checksum")});
      }
    } catch (const InputError&) {
      manifest = {};  // the sum is right: no accident, another writer
    }
    if (!is_consistent(manifest))
      throw InputError(
          cat(place, " - contradicts itself, so Shoal did not write it; ", kSampleStore.rebuild));
  });
  return manifest;
}

bool is_sample_store(const std::filesystem::path& folder) {
  const Json json = Json::parse(read_whole(folder / kManifestName), nullptr, false);
  return json.is_object() && json.contains("format") && json["format"] == kSampleStore.format;
}

std::string samples_file(Split split, int64_t part) { return cat(shard_stem(split, part), kSuffix); }

bool is_samples_file(std::string_view name) {
  if (name.ends_with(".part")) name.remove_suffix(5);
  return is_shard_name(name, kSuffix);
}

Split split_of(std::string_view key, int64_t validation_every) {
  if (validation_every == 0) return Split::kTrain;
  const uint64_t hash = std::stoull(hash_hex(std::string(key)).substr(0, 16), nullptr, 16);
  return hash % static_cast<uint64_t>(validation_every) == 0 ? Split::kValidation : Split::kTrain;
}

}  // namespace shoal::data
