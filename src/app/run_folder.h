// Where a run's files go, and what an earlier run left there.
#pragma once

#include <filesystem>
#include <string>

namespace shoal::app {

/// Makes and returns runs/<recipe>-<n>, n the first free number; two runs that start at once get two folders.
/// Throws InputError when it cannot be made.
std::filesystem::path new_run_folder(const std::filesystem::path& recipe);

/// The runs/<recipe>-<n> with the highest n that has a checkpoint. Throws InputError when there is none.
std::filesystem::path newest_run_folder(const std::filesystem::path& recipe);

/// Makes a folder unless it is there; returns whether it was made. Throws InputError when it cannot be.
bool make_folder(const std::filesystem::path&);

/// Throws InputError when a run cannot write into `out`, or when it holds a run that is not resumed.
/// REQUIRES: a FolderLock on it; what another run began there is no run yet, and would look like one that
/// failed.
void check_run_folder(const std::filesystem::path& out, bool resumes);

/// Throws InputError when `out` holds a run that `checkpoint` is not of.
void check_run_of(const std::filesystem::path& out, const std::filesystem::path& checkpoint);

/// Keeps other runs out of a folder while it lives, also those that other users' commands start. Throws
/// InputError when one is there.
class FolderLock {
 public:
  explicit FolderLock(const std::filesystem::path& folder);
  ~FolderLock();
  FolderLock(const FolderLock&) = delete;
  FolderLock& operator=(const FolderLock&) = delete;

 private:
  int descriptor_;
};

/// The folder of the last checkpoint in out/checkpoints. Throws InputError when there is none, or when it has
/// lost its manifest.
std::filesystem::path last_checkpoint(const std::filesystem::path& out);

}  // namespace shoal::app
