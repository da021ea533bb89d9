// Saving in four phases; after each, all ranks agree that every one of them came through it, or all throw:
//   describe_file   what each rank is going to write, and whether together that is everything   (nothing is
//   on the disk yet) prepare         rank 0 makes the partial folder write_file      each rank writes its
//   file and says the checksums of its blocks publish         rank 0 adds the manifest and renames the folder
#include <algorithm>
#include <functional>
#include <stdexcept>
#include <tuple>

#include "base/hash.h"
#include "base/text.h"
#include "comm/all_or_none.h"
#include "shoal/error.h"
#include "state/checkpoint.h"
#include "state/durable.h"
#include "state/folder.h"
#include "state/safetensors.h"

namespace shoal::state {

using nlohmann::json;
namespace fs = std::filesystem;

namespace {

std::span<const std::byte> bytes_of(const std::string& text) { return std::as_bytes(std::span(text)); }

/// comm::all_or_none, all of whose errors are JobErrors; what is no Error has `refusal` and the rank before it.
std::vector<std::string> all_or_none(comm::Group& world, const std::string& refusal,
                                     const std::function<std::string()>& work) {
  return comm::all_or_none(world, [&] {
    try {
      return work();
    } catch (const Error& error) {
      throw JobError(error.what());
    } catch (const std::exception& error) {
      throw JobError(cat(refusal, "rank ", world.rank(), ": ", error.what()));
    }
  });
}

/// One rank's file: its slices in the order in which they lie there.
struct OwnFile {
  std::vector<Slice> slices;
  std::string header;
};

OwnFile lay_out(const Contents& contents, std::span<const Slice> mine) {
  OwnFile file;
  for (const Slice& slice : mine) {
    if (slice.tensor >= contents.tensors.size())
      throw std::invalid_argument(
          cat("got a slice of tensor ", slice.tensor, ", want one of the ", contents.tensors.size()));
    const TensorSpec& spec = contents.tensors[slice.tensor];
    if (std::ssize(slice.bytes) != slice.elements.size() * element_bytes(spec.dtype))
      throw std::invalid_argument(cat("tensor ", title(spec), ": got ", slice.bytes.size(), " bytes, want ",
                                      slice.elements.size(), " elements of ", spec.dtype));
    if (!slice.elements.empty()) file.slices.push_back(slice);
  }
  std::ranges::sort(file.slices, {}, [&](const Slice& slice) {
    return std::tuple(-element_bytes(contents.tensors[slice.tensor].dtype), slice.tensor,
                      slice.elements.begin);
  });
  std::vector<SafetensorsEntry> entries;
  for (const Slice& slice : file.slices) {
    const TensorSpec& spec = contents.tensors[slice.tensor];
    const int64_t count = slice.elements.size();
    entries.push_back({entry_key(spec, slice.elements), spec.dtype,
                       count == num_elements(spec) ? local_shape(spec) : std::vector<int64_t>{count},
                       std::ssize(slice.bytes)});
  }
  file.header = safetensors_header(entries);
  return file;
}

/// What the others need to know about this rank's file. The contents go along as a hash, to see that all
/// ranks mean the same.
std::string describe_file(const Contents& contents, const OwnFile& file) {
  Manifest bare{contents, std::vector<StoredTensor>(contents.tensors.size()), {}};
  json description = {{"contents", content_hash(bare)}, {"slices", json::array()}};
  int64_t offset = std::ssize(file.header);
  for (const Slice& slice : file.slices) {
    description["slices"].push_back({slice.tensor, slice.elements.begin, slice.elements.end, offset});
    offset += std::ssize(slice.bytes);
  }
  description["bytes"] = offset;
  description["header_bytes"] = file.header.size();
  description["header_checksum"] = hash_hex(file.header);
  return description.dump();
}

/// The manifest but for the blocks' checksums. The same on every rank, so that all of them throw or none.
Manifest merge(const Contents& contents, const std::vector<std::string>& descriptions,
               const std::string& refusal) {
  Manifest manifest{contents, std::vector<StoredTensor>(contents.tensors.size()), {}};
  std::string first_hash;
  for (size_t rank = 0; rank < descriptions.size(); ++rank) {
    const json description = json::parse(descriptions[rank]);
    if (rank == 0) first_hash = description["contents"];
    if (description["contents"] != first_hash)
      throw JobError(
          cat(refusal, "rank ", rank, " has other contents (run, step, samples or tensors) than rank 0"));
    if (description["slices"].empty()) continue;
    for (const json& slice : description["slices"])
      manifest.stored.at(slice[0]).slices.push_back({{slice[1], slice[2]}, manifest.files.size(), slice[3]});
    manifest.files.push_back({owner_file_name(static_cast<int>(rank)), description["bytes"],
                              description["header_bytes"], description["header_checksum"]});
  }
  for (StoredTensor& stored : manifest.stored)
    std::ranges::sort(stored.slices, {}, [](const StoredSlice& slice) { return slice.elements.begin; });
  if (const auto flaw = find_flaw(manifest)) throw JobError(refusal + *flaw);
  return manifest;
}

void prepare(const SavePaths& paths) {
  std::error_code error;
  if (fs::exists(paths.folder, error) && !is_checkpoint(paths.folder) &&
      !(step_of(paths.folder) && lost_manifest(paths.folder)))
    throw JobError(cat(paths.folder.string(),
                       " - is there already and is not a checkpoint; remove it or save elsewhere"));
  fs::create_directories(paths.parent, error);
  if (!error) remove_tree(paths.partial);
  if (!error) fs::create_directory(paths.partial, error);
  if (error) throw JobError(cat(paths.partial.string(), " - cannot be created: ", error.message()));
}

/// Returns [tensor, first block, [checksum...]] for each slice.
json write_file(const fs::path& path, const Contents& contents, const OwnFile& own) {
  json checksums = json::array();
  if (own.slices.empty()) return checksums;
  OutputFile file(path);
  file.write(bytes_of(own.header));
  for (const Slice& slice : own.slices) {
    const size_t block_bytes =
        static_cast<size_t>(kBlockElements * element_bytes(contents.tensors[slice.tensor].dtype));
    json blocks = json::array();
    for (auto rest = slice.bytes; !rest.empty();) {
      const auto block = rest.first(std::min(block_bytes, rest.size()));
      blocks.push_back(hash_hex(block));
      file.write(block);
      rest = rest.subspan(block.size());
    }
    checksums.push_back({slice.tensor, slice.elements.begin / kBlockElements, blocks});
  }
  file.finish();
  return checksums;
}

void add_checksums(Manifest& manifest, const std::vector<std::string>& by_rank) {
  for (size_t i = 0; i < manifest.stored.size(); ++i)
    manifest.stored[i].blocks.resize(
        static_cast<size_t>(num_blocks(num_elements(manifest.contents.tensors[i]))));
  for (const std::string& text : by_rank) {
    for (const json& slice : json::parse(text)) {
      size_t block = slice[1];
      for (const json& checksum : slice[2]) manifest.stored.at(slice[0]).blocks.at(block++) = checksum;
    }
  }
}

void publish(const SavePaths& paths, const Manifest& manifest) {
  OutputFile file(paths.partial / kManifestName);
  file.write(bytes_of(manifest_text(manifest)));
  file.finish();
  sync_folder(paths.partial);
  std::error_code error;
  if (!fs::exists(paths.folder, error)) {
    rename_path(paths.partial, paths.folder);
  } else if (!exchange_paths(paths.partial, paths.folder)) {
    remove_tree(paths.replaced);
    rename_path(paths.folder, paths.replaced);
    try {
      rename_path(paths.partial, paths.folder);
    } catch (const Error&) {
      rename_path(paths.replaced, paths.folder);
      throw;
    }
  }
  sync_folder(paths.parent);
  if (step_of(paths.folder)) {
    make_way_for_latest(paths.parent);
    point_link(paths.parent / kLatestName, paths.folder.filename());  // or the highest step is the latest
    sync_folder(paths.parent);
  }
}

}  // namespace

void save(comm::Group& world, const fs::path& folder, const Contents& contents,
          std::span<const Slice> mine) {
  const SavePaths paths(folder);
  const std::string refusal = paths.folder.string() + " - not saved: ";
  OwnFile own;
  const auto descriptions = all_or_none(world, refusal, [&] {
    if (const auto flaw = find_flaw(contents)) throw std::invalid_argument(*flaw);
    own = lay_out(contents, mine);
    return describe_file(contents, own);
  });
  Manifest manifest = merge(contents, descriptions, refusal);

  // From here on rank 0 has something to clear away, whether it ends well (the replaced checkpoint) or not
  // (the partial one). If that fails, the next save or prune does it.
  struct ClearAway {
    const SavePaths* paths;
    ~ClearAway() {
      std::error_code ignored;
      if (paths) fs::remove_all(paths->partial, ignored);
      if (paths && is_checkpoint(paths->folder)) fs::remove_all(paths->replaced, ignored);
    }
  } clear_away{world.rank() == 0 ? &paths : nullptr};

  all_or_none(world, refusal, [&] {
    if (world.rank() == 0) prepare(paths);
    return "";
  });
  const auto checksums = all_or_none(world, refusal, [&] {
    return write_file(paths.partial / owner_file_name(world.rank()), contents, own).dump();
  });
  all_or_none(world, refusal, [&] {
    if (world.rank() == 0) {
      add_checksums(manifest, checksums);
      publish(paths, manifest);
    }
    return "";
  });
}

}  // namespace shoal::state
