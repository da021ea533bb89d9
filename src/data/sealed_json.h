// The manifest of a store: JSON with its own checksum, so that an accident to it is found too.
#pragma once

#include <filesystem>
#include <functional>
#include <nlohmann/json.hpp>
#include <string>

namespace shoal::data {

/// `json` as text, with its checksum as the last key.
std::string seal(nlohmann::ordered_json json);

/// What a manifest must be, and how sentences about it speak.
struct Sealed {
  const char* format;  // "shoal token store"
  int version;
  const char* noun;     // "token store"
  const char* maker;    // "a folder that shoal data finished"
  const char* rebuild;  // what to do about a damaged one
  int oldest = 0;       // version that is still read; 0: only `version`
};

/// Reads FOLDER/manifest.json, checks format, version and checksum, and hands it to `take`. Throws
/// InputError, also for what is no JSON and where `take` finds a key missing or of another type.
void read_sealed(const std::filesystem::path& folder, const Sealed&,
                 const std::function<void(const nlohmann::ordered_json&)>& take);

}  // namespace shoal::data
