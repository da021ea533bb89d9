// What a flow reads, wherever it lies: files of this machine, or objects of S3 (remote.h).
#pragma once

#include <arrow/io/interfaces.h>

#include <memory>
#include <optional>
#include <span>
#include <string>

#include "data/files.h"

namespace shoal::flow {

/// One of them, opened. One thread.
class Input {
 public:
  using State = data::InputFile::State;
  /// Throws InputError.
  explicit Input(const std::string& path);
  ~Input();
  State state() const;
  /// Fills `bytes` from `offset` on, or as much as there is; returns how many. Throws JobError.
  size_t read(int64_t offset, std::span<std::byte> bytes) const;
  /// How much to ask for at a time.
  size_t block_bytes() const;
  /// Throws JobError unless it is still as it was: call it after reading.
  void expect_unchanged(const State&) const;
  /// The same for Arrow's readers, which do not close it.
  std::shared_ptr<arrow::io::RandomAccessFile> file() const;

 private:
  std::string path_;
  std::optional<data::InputFile> local_;
  std::shared_ptr<arrow::io::RandomAccessFile> remote_;
};

}  // namespace shoal::flow
