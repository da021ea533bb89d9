#include "state/manifest.h"

#include <algorithm>

#include "base/hash.h"
#include "base/text.h"
#include "shoal/error.h"
#include "state/safetensors.h"

namespace shoal::state {

using nlohmann::json;

namespace {

constexpr const char* kFormat = "shoal-checkpoint";
constexpr int64_t kVersion = 2, kVersionWithoutParts = 1;

// ---- JSON to values; a missing key or a wrong type throws json::exception, caught in parse_manifest
// ---------------

int64_t whole_number(const json& value) {
  if (!value.is_number_integer() || value.get<int64_t>() < 0)
    throw json::type_error::create(302, cat("got ", value.dump(), ", want a whole number"), &value);
  return value.get<int64_t>();
}

TensorSpec spec_from(const json& value, int64_t version) {
  TensorSpec spec{value.at("name"), value.at("role"), value.at("dtype"), {}};
  for (const json& size : value.at("shape")) spec.shape.push_back(whole_number(size));
  if (version >= kVersion && value.contains("division")) {
    const json& division = value["division"];
    spec.division = {whole_number(division.at("part")), whole_number(division.at("parts")),
                     whole_number(division.at("dim")), whole_number(division.at("outer"))};
  }
  return spec;
}

StoredTensor stored_from(const json& value) {
  StoredTensor stored{value.at("blocks"), {}};
  for (const json& slice : value.at("slices")) {
    stored.slices.push_back({{whole_number(slice.at(0)), whole_number(slice.at(1))},
                             static_cast<size_t>(whole_number(slice.at(2))),
                             whole_number(slice.at(3))});
  }
  return stored;
}

StoredFile file_from(const json& value) {
  return {value.at("name"), whole_number(value.at("bytes")), whole_number(value.at("header_bytes")),
          value.at("header_checksum")};
}

// ---- values to JSON
// ------------------------------------------------------------------------------------------------

/// The part of the manifest that the content hash covers.
json content_json(const Manifest& manifest) {
  const Contents& contents = manifest.contents;
  json tensors = json::array();
  for (size_t i = 0; i < contents.tensors.size(); ++i) {
    const TensorSpec& spec = contents.tensors[i];
    tensors.push_back({{"name", spec.name},
                       {"role", spec.role},
                       {"dtype", spec.dtype},
                       {"shape", spec.shape},
                       {"blocks", manifest.stored[i].blocks}});
    if (const auto& division = spec.division) {
      tensors.back()["division"] = {{"part", division->part},
                                    {"parts", division->parts},
                                    {"dim", division->dim},
                                    {"outer", division->outer}};
    }
  }
  return {
      {"run", contents.run}, {"step", contents.step}, {"samples", contents.samples}, {"tensors", tensors}};
}

json manifest_json(const Manifest& manifest) {
  json document = content_json(manifest);
  document["format"] = kFormat;
  document["version"] = kVersion;
  for (size_t i = 0; i < manifest.stored.size(); ++i) {
    json& slices = document["tensors"][i]["slices"] = json::array();
    for (const StoredSlice& slice : manifest.stored[i].slices)
      slices.push_back({slice.elements.begin, slice.elements.end, slice.file, slice.offset});
  }
  json& files = document["files"] = json::array();
  for (const StoredFile& file : manifest.files) {
    files.push_back({{"name", file.name},
                     {"bytes", file.bytes},
                     {"header_bytes", file.header_bytes},
                     {"header_checksum", file.header_checksum}});
  }
  return document;
}

bool legal_file_name(const std::string& name) {
  return !name.empty() && name[0] != '.' &&
         name.find_first_of(std::string_view("/\0", 2)) == std::string::npos;
}

}  // namespace

std::optional<std::string> find_flaw(const Contents& contents) {
  if (contents.step < 0) return cat("step: got ", contents.step, ", want a whole number");
  if (contents.samples < 0) return cat("samples: got ", contents.samples, ", want a whole number");
  return find_flaw(contents.tensors);
}

std::optional<std::string> find_flaw(const Manifest& manifest) {
  std::vector<int64_t> unused;  // data bytes of each file that no slice has claimed
  for (const StoredFile& file : manifest.files) {
    if (!legal_file_name(file.name)) return cat("file ", file.name, ": want a name in this folder");
    if (file.header_bytes > file.bytes) return cat("file ", file.name, ": want its header to be within it");
    unused.push_back(file.bytes - file.header_bytes);
  }
  for (size_t i = 0; i < manifest.stored.size(); ++i) {
    const TensorSpec& spec = manifest.contents.tensors[i];
    const int64_t elements = num_elements(spec), size = element_bytes(spec.dtype);
    const std::string place = "tensor " + title(spec) + ": ";
    int64_t covered = 0;
    for (const StoredSlice& slice : manifest.stored[i].slices) {
      const auto [begin, end] = slice.elements;
      const std::string range = cat("elements [", begin, ", ", end, ")");
      if (begin % kBlockElements != 0 || (end % kBlockElements != 0 && end != elements) || begin >= end ||
          end > elements)
        return cat(place, "got ", range, " of ", elements, ", want whole blocks of ", kBlockElements);
      if (begin > covered) return cat(place, "elements [", covered, ", ", begin, ") are in no slice");
      if (begin < covered)
        return cat(place, "elements [", begin, ", ", std::min(covered, end), ") are in two slices");
      covered = end;
      if (slice.file >= manifest.files.size()) return cat(place, range, " are in no file of the list");
      const StoredFile& file = manifest.files[slice.file];
      const int64_t bytes = (end - begin) * size;
      if (slice.offset < file.header_bytes || bytes > file.bytes || slice.offset > file.bytes - bytes)
        return cat(place, range, " lie outside of ", file.name);
      unused[slice.file] -= bytes;
    }
    if (covered < elements) return cat(place, "elements [", covered, ", ", elements, ") are in no slice");
  }
  for (size_t i = 0; i < unused.size(); ++i) {
    if (unused[i] != 0) return cat("file ", manifest.files[i].name, ": want its bytes to be the slices'");
  }
  return std::nullopt;
}

std::string manifest_text(const Manifest& manifest) {
  const json document = manifest_json(manifest);
  std::string text = "{\n";
  for (const auto& [key, value] : document.items()) {
    text += cat('"', key, "\": ");
    text += value.is_array() ? cat("[\n", join(value, ",\n"), "\n]") : value.dump();
    text += ",\n";
  }
  return text + cat("\"checksum\": \"", hash_hex(document.dump()), "\"\n}\n");
}

Manifest parse_manifest(const std::string& text, const std::string& place) {
  const auto refuse = [&](const auto&... what) { return InputError(cat(place, " - ", what...)); };
  const auto damaged = [&](const auto&... what) {
    return refuse("damaged: ", what..., "; use another checkpoint");
  };

  json document = json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (document.is_discarded())
    throw damaged("got ", text.size(), " bytes that are not JSON, want a manifest");
  try {
    if (!document.is_object() || !document.contains("format") || document["format"] != kFormat)
      throw refuse("not a checkpoint's manifest: want \"format\": \"", kFormat, "\"");
    const json& version = document.at("version");
    if (version != kVersion && version != kVersionWithoutParts)
      throw refuse("format version: got ", version.dump(), ", want ", kVersionWithoutParts, " or ", kVersion,
                   "; read it with the version of Shoal that wrote it");
    const std::string stated = document.at("checksum");
    document.erase("checksum");
    if (const std::string found = hash_hex(document.dump()); found != stated)
      throw damaged("got checksum ", found, ", want ", stated);

    Manifest manifest;
    manifest.contents.run = document.at("run");
    manifest.contents.step = whole_number(document.at("step"));
    manifest.contents.samples = whole_number(document.at("samples"));
    for (const json& value : document.at("tensors")) {
      manifest.contents.tensors.push_back(spec_from(value, version));
      manifest.stored.push_back(stored_from(value));
    }
    for (const json& value : document.at("files")) manifest.files.push_back(file_from(value));

    if (const auto flaw = find_flaw(manifest.contents)) throw damaged(*flaw);
    if (const auto flaw = find_flaw(manifest)) throw damaged(*flaw);
    for (size_t i = 0; i < manifest.stored.size(); ++i) {
      const TensorSpec& spec = manifest.contents.tensors[i];
      if (const auto want = num_blocks(num_elements(spec)); std::ssize(manifest.stored[i].blocks) != want)
        throw damaged("tensor ", title(spec), ": got ", manifest.stored[i].blocks.size(), " checksums, want ",
                      want);
    }
    return manifest;
  } catch (const json::exception& error) {
    throw damaged("a key is missing or of the wrong type (", error.what(), ")");
  }
}

std::string content_hash(const Manifest& manifest) { return hash_hex(content_json(manifest).dump()); }

}  // namespace shoal::state
