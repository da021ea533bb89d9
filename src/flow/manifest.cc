#include "flow/manifest.h"

#include <nlohmann/json.hpp>

#include "base/hash.h"
#include "base/text.h"
#include "shoal/error.h"

namespace shoal::flow {
namespace {
namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

constexpr const char* kFormat = "shoal flow output";
constexpr int kVersion = 1;

Json content(const OutputManifest& manifest) {
  Json json;
  json["format"] = kFormat;
  json["version"] = kVersion;
  json["identity"] = manifest.identity;
  json["file_format"] = manifest.format;
  json["columns"] = Json::array();
  for (const auto& [name, type] : manifest.columns)
    json["columns"].push_back({{"name", name}, {"type", type}});
  json["rows"] = manifest.report.rows;
  json["steps"] = Json::array();
  for (const FlowStepCount& step : manifest.report.steps)
    json["steps"].push_back({{"step", step.step}, {"rows_in", step.rows_in}, {"rows_out", step.rows_out}});
  json["bad_records"] = manifest.report.bad_records;
  json["first_bad_record"] = manifest.report.first_bad_record;
  json["files"] = Json::array();
  for (const FileRecord& file : manifest.files)
    json["files"].push_back(
        {{"file", file.file}, {"rows", file.rows}, {"bytes", file.bytes}, {"checksum", file.checksum}});
  return json;
}

std::string dump(const Json& json) { return json.dump(2, ' ', false, Json::error_handler_t::replace); }

}  // namespace

std::string to_json(const OutputManifest& manifest) {
  Json json = content(manifest);
  json["checksum"] = hash_hex(dump(json));
  return dump(json) + "\n";
}

bool is_output(const fs::path& folder) {
  return read_text(folder / kManifestName).find(kFormat) != std::string::npos;
}

OutputManifest load_output(const fs::path& folder) {
  const std::string path = (folder / kManifestName).string();
  const std::string text = read_text(path);
  if (text.empty())
    throw InputError(cat(
        path, " - not there or empty: want the manifest of a finished flow; run the flow again, it goes on"));
  OutputManifest manifest;
  bool is_whole = false;
  try {
    const Json whole = Json::parse(text);
    const Json& json = whole.contains("made_by") ? whole.at("made_by") : whole;  // of a store
    if (json.at("format") != kFormat || json.at("version") != kVersion)
      throw InputError(cat(path, " - not of this version: got ", json.at("format").dump(), " ",
                           json.at("version").dump(), ", want \"", kFormat, "\" ", kVersion));
    manifest.identity = json.at("identity");
    manifest.format = json.at("file_format");
    for (const auto& column : json.at("columns"))
      manifest.columns.emplace_back(column.at("name"), column.at("type"));
    manifest.report.rows = json.at("rows");
    for (const auto& step : json.at("steps"))
      manifest.report.steps.push_back({step.at("step"), step.at("rows_in"), step.at("rows_out")});
    manifest.report.bad_records = json.at("bad_records");
    manifest.report.first_bad_record = json.at("first_bad_record");
    for (const auto& file : json.at("files"))
      manifest.files.push_back({file.at("file"), file.at("rows"), file.at("bytes"), file.at("checksum")});
    manifest.report.files = static_cast<int64_t>(manifest.files.size());
    is_whole = to_json(manifest) == dump(json) + "\n" && (&json != &whole || to_json(manifest) == text);
  } catch (const nlohmann::json::exception&) {
    is_whole = false;
  }
  if (!is_whole)
    throw InputError(
        cat(path, " - damaged: its checksum does not hold; remove the folder and run the flow again"));
  return manifest;
}

OutputManifest verify_output(const fs::path& folder) {
  OutputManifest manifest = load_output(folder);
  for (const FileRecord& file : manifest.files) {
    const fs::path path = folder / file.file;
    const std::optional<int64_t> bytes = file_bytes(path);
    const std::string advice = "remove the folder and run the flow again";
    if (!bytes) throw InputError(cat(path.string(), " - not there: want ", file.bytes, " bytes; ", advice));
    if (*bytes != file.bytes)
      throw InputError(
          cat(path.string(), " - damaged: got ", *bytes, " bytes, want ", file.bytes, "; ", advice));
    if (file_checksum(path) != file.checksum)
      throw InputError(cat(path.string(), " - damaged: its checksum does not hold; ", advice));
  }
  return manifest;
}

}  // namespace shoal::flow
