#include "data/sealed_json.h"

#include <system_error>

#include "base/hash.h"
#include "base/text.h"
#include "data/files.h"
#include "data/manifest.h"
#include "shoal/error.h"

namespace shoal::data {

namespace {
using Json = nlohmann::ordered_json;

std::string checksum_of(const Json& json) { return hash_hex(json.dump(2)); }
}  // namespace

std::string seal(Json json) {
  json["checksum"] = checksum_of(json);
  return json.dump(2) + "\n";
}

void read_sealed(const std::filesystem::path& folder, const Sealed& want,
                 const std::function<void(const Json&)>& take) {
  const std::string place = (folder / kManifestName).string();
  std::error_code error;
  if (!std::filesystem::exists(folder / kManifestName, error)) {
    throw InputError(
        cat(folder.string(), " - not a ", want.noun, ": got no ", kManifestName, ", want ", want.maker));
  }
  try {
    Json json = Json::parse(read_whole(folder / kManifestName));
    if (json.value("format", "") != want.format) {
      throw InputError(cat(place, " - not of a ", want.noun, ": got format \"", json.value("format", ""),
                           "\", want \"", want.format, "\""));
    }
    const int oldest = want.oldest == 0 ? want.version : want.oldest;
    if (json.at("version") < oldest || json.at("version") > want.version) {
      throw InputError(cat(place, " - version: got ", json.at("version").dump(), ", want ",
                           oldest < want.version ? cat(oldest, " to ") : "", want.version, "; ",
                           want.rebuild));
    }
    const std::string checksum = json.at("checksum");
    json.erase("checksum");
    if (checksum != checksum_of(json)) {
      throw InputError(cat(place, " - damaged or edited: got checksum ", checksum_of(json), ", want ",
                           checksum, "; ", want.rebuild));
    }
    take(json);
  } catch (const nlohmann::json::exception& problem) {
    throw InputError(
        cat(place, " - not the manifest of a ", want.noun, ": ", problem.what(), "; ", want.rebuild));
  }
}

}  // namespace shoal::data
