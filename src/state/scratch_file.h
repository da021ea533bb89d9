// Memory that lies in a file: what a device keeps but touches once a step need not stay in memory where that is short.
#pragma once

#include <cstddef>
#include <filesystem>
#include <span>

namespace shoal::state {

/// A file without a name, which is gone with the process whatever ends it, mapped whole; zeros at first. The system
/// writes it out when it needs the memory.
class ScratchFile {
 public:
  /// Room on the disk is taken at once. Throws InputError where `folder` cannot have such a file, JobError where it has no
  /// room for it.
  ScratchFile(const std::filesystem::path& folder, size_t bytes);
  ~ScratchFile();
  ScratchFile(const ScratchFile&) = delete;
  ScratchFile& operator=(const ScratchFile&) = delete;

  std::span<std::byte> memory() { return {memory_, bytes_}; }
  /// Nobody reads it soon: its pages may leave memory.
  void rest();

 private:
  std::byte* memory_ = nullptr;
  size_t bytes_;
};

}  // namespace shoal::state
