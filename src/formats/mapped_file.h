// A file that is read where it is touched.
#pragma once

#include <cstddef>
#include <filesystem>
#include <span>
#include <string>

namespace shoal::formats {

/// A regular file, mapped for reading. What shortens it meanwhile ends the process (docs/model_files.md).
class MappedFile {
 public:
  /// Throws InputError, which names the file and says that `want` is wanted ("want a GGUF file").
  MappedFile(const std::filesystem::path&, const std::string& want);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  std::span<const std::byte> bytes() const { return {memory_, bytes_}; }
  const std::string& place() const { return place_; }

 private:
  std::string place_;
  const std::byte* memory_ = nullptr;
  size_t bytes_ = 0;
};

/// The whole of a small file as text, of at most `most` bytes. Throws InputError.
std::string read_text(const std::filesystem::path&, const std::string& want, size_t most);

}  // namespace shoal::formats
