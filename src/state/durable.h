// Files and folders that survive a crash: written, fsynced, renamed. Every function throws JobError that
// names the path and the cause.
#pragma once

#include <cstddef>
#include <filesystem>
#include <optional>
#include <span>

namespace shoal::state {

/// A new file, written from front to back. Unless finish() returned, nothing is promised about it.
class OutputFile {
 public:
  explicit OutputFile(const std::filesystem::path&);  // must not exist
  ~OutputFile();
  OutputFile(const OutputFile&) = delete;
  OutputFile& operator=(const OutputFile&) = delete;

  void write(std::span<const std::byte> bytes);
  /// On the disk, and closed.
  void finish();

 private:
  std::filesystem::path path_;
  int descriptor_;
};

/// A file that appears under its name whole, or not at all: what a crash leaves has another name, and the next one
/// clears it away.
class WholeFile {
 public:
  /// Throws InputError where something has that name, or the folder is not there or cannot be written.
  explicit WholeFile(const std::filesystem::path&);
  ~WholeFile();
  WholeFile(const WholeFile&) = delete;
  WholeFile& operator=(const WholeFile&) = delete;

  void write(std::span<const std::byte> bytes) { file_->write(bytes); }
  /// It is there now, on the disk.
  void finish();

 private:
  std::filesystem::path path_, partial_;
  std::optional<OutputFile> file_;
};

/// The names in the folder are on the disk.
void sync_folder(const std::filesystem::path&);

/// One atomic step for all who look.
void rename_path(const std::filesystem::path& from, const std::filesystem::path& to);

/// Two names trade places in one atomic step. False, and nothing done, where the file system cannot do that.
bool exchange_paths(const std::filesystem::path& a, const std::filesystem::path& b);

/// `link` points to `target` (as it is written, so relative to the link) from one instant to the next,
/// whether or not it was there. False, and nothing done, where the file system has no links.
bool point_link(const std::filesystem::path& link, const std::filesystem::path& target);

/// With everything inside; no error when it is not there.
void remove_tree(const std::filesystem::path&);

}  // namespace shoal::state
