// Files that a flow writes, on this machine or as objects of S3 (remote.h): checksummed as they go by, whole
// or not there.
#pragma once

#include <arrow/io/interfaces.h>
#include <arrow/result.h>

#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/hash.h"

namespace shoal::flow {

/// An Arrow stream into PATH.part, or an upload, which place() puts at PATH. One thread.
class FileSink final : public arrow::io::OutputStream {
 public:
  /// Throws JobError when it cannot be made.
  explicit FileSink(const std::filesystem::path&);
  ~FileSink() override;

  arrow::Status Write(const void* data, int64_t bytes) override;
  using OutputStream::Write;
  arrow::Status Close() override;
  arrow::Result<int64_t> Tell() const override { return bytes_; }
  bool closed() const override { return descriptor_ < 0 && !remote_; }

  /// The file is at PATH from here on, and on its way to the disk when `starts_writing`: sync_files() waits
  /// for less then. Throws JobError.
  void place(bool starts_writing);
  int64_t size() const { return bytes_; }
  std::string checksum() const { return hasher_.hex(); }

 private:
  arrow::Status flush();
  arrow::Status put(std::string_view bytes);
  std::filesystem::path path_, part_;
  int descriptor_ = -1;
  std::shared_ptr<arrow::io::OutputStream> remote_;
  int64_t unsent_ = 0;  // to remote_, at most
  int64_t bytes_ = 0;
  std::string buffer_;
  Hasher hasher_;
};

/// All of the files are on the disk; objects are since place(). Throws JobError.
void sync_files(const std::vector<std::filesystem::path>&);
/// The file holds this text from one instant to the next, and it is on the disk. Throws JobError.
void write_text(const std::filesystem::path&, const std::string& text);

/// All of a small file; "" when it is not there.
std::string read_text(const std::filesystem::path&);
/// Nothing when it is not there.
std::optional<int64_t> file_bytes(const std::filesystem::path&);
/// The checksum of a whole file; "" when it is not there.
std::string file_checksum(const std::filesystem::path&);

}  // namespace shoal::flow
