// Files as the builder needs them: input that must not change while it is read, output that is whole or not
// there. Errors: the input's fault is InputError, anything else JobError; each names the path and the cause.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <span>
#include <string>

namespace shoal::data {

/// A file descriptor, closed on every way out.
class Descriptor {
 public:
  explicit Descriptor(int number) : number_(number) {}
  ~Descriptor();
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  operator int() const { return number_; }

 private:
  int number_;
};

/// An input file, open for reading.
class InputFile {
 public:
  explicit InputFile(const std::string& path);

  /// What a change of the file would change.
  struct State {
    int64_t bytes;
    int64_t modified_ns;
    friend bool operator==(const State&, const State&) = default;
  };
  State state() const;
  /// Fills `bytes` from `offset` on, or as much as there is; returns how many.
  size_t read(int64_t offset, std::span<std::byte> bytes) const;
  /// Throws JobError unless the file is still as it was: call it after reading.
  void expect_unchanged(const State&) const;

 private:
  std::string path_;
  Descriptor descriptor_;
};

/// Called before each change to a file, with what comes next ("sync train-00000.tokens").
using OnStep = std::function<void(const std::string&)>;

/// `path` holds `bytes`, on the disk, from one instant to the next: written beside as PATH.part, fsynced,
/// renamed.
void write_whole(const std::filesystem::path& path, std::span<const std::byte> bytes, const OnStep& on_step);
/// All of a small file; "" if it is not there, or no regular file.
std::string read_whole(const std::filesystem::path& path);

/// Keeps two builds out of one folder: one may own it, or many share it. Ends with the process, however that
/// ends.
class FolderLock {
 public:
  explicit FolderLock(const std::filesystem::path& folder);
  /// Both throw InputError when another build is in the way; each replaces what was held.
  void own();
  void share();

 private:
  void lock(int kind);
  std::filesystem::path folder_;
  Descriptor descriptor_;
};

}  // namespace shoal::data
