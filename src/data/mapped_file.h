// A file of a store, mapped read-only, whose checksum is compared before anything of it is used.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <mutex>
#include <span>
#include <string>

namespace shoal::data {

/// Threads: const functions from any. The file must stay as it is while it is open. Errors: InputError that
/// names the file and ends with `repair`, what to do about it.
class MappedFile {
 public:
  /// Compares the size. REQUIRES: bytes >= 1.
  MappedFile(std::filesystem::path path, int64_t bytes, std::string checksum, std::string repair);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  const std::filesystem::path& path() const { return path_; }
  /// The contents. The first call compares the checksum (about a millisecond for 8 MiB in memory), then lets
  /// `check` look at what is in it: it throws what it finds, and is asked again at the next call.
  std::span<const std::byte> verified(
      const std::function<void(std::span<const std::byte>)>& check = nullptr) const;

 private:
  std::filesystem::path path_;
  std::string checksum_, repair_;
  std::span<const std::byte> bytes_;
  mutable std::mutex verifying_;
  mutable std::atomic<bool> is_verified_ = false;
};

}  // namespace shoal::data
