// The names in and around a checkpoint's folder (docs/checkpoint_format.md).
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

namespace shoal::state {

inline constexpr const char* kManifestName = "manifest.json";
inline constexpr const char* kLatestName = "latest";

/// "owner-00003.safetensors".
std::string owner_file_name(int rank);

/// 12 for a path that ends in step-12.
std::optional<int64_t> step_of(const std::filesystem::path&);

/// Whether it is a folder with a manifest.
bool is_checkpoint(const std::filesystem::path&);

/// Whether it is a checkpoint's folder that has lost its manifest, and holds nothing else.
bool lost_manifest(const std::filesystem::path&);

/// Makes way for the link `latest`. A folder of that name, which a copy leaves that follows links (cp -rL,
/// zip, object stores), is removed when step-<n> beside it holds the same, checked to the last byte; else it
/// is kept as the step-<n> that it is, or as latest-copy-<k>. Throws JobError.
void make_way_for_latest(const std::filesystem::path& checkpoints);

/// The folder that a user's path means: itself, what the link points to, or the latest one in it. Throws
/// InputError when there is none.
std::filesystem::path resolve(const std::filesystem::path&);

/// Where a save of `folder` works.
struct SavePaths {
  explicit SavePaths(const std::filesystem::path& folder);
  std::filesystem::path folder, parent;
  std::filesystem::path partial;   // being written
  std::filesystem::path replaced;  // the older checkpoint of that name, where the two cannot be exchanged
};

}  // namespace shoal::state
