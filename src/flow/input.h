// What a flow reads, wherever it lies: files of this machine, or objects as s3://BUCKET/KEY, through Arrow's file
// system for S3 (arrow.apache.org/docs/cpp/io.html). Its library is loaded at the first such path. Keys, region
// and endpoint are the environment's, as for AWS's own tools: AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY,
// AWS_PROFILE, AWS_REGION, AWS_ENDPOINT_URL.
#pragma once

#include <arrow/io/interfaces.h>

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "data/files.h"

namespace shoal::flow {

bool is_remote(const std::string& path);
/// The objects that a path names: one, those of a folder that are no one's notes (list_files.cc), or those that
/// match * and [] in the last part; by path. Throws InputError.
std::vector<std::string> list_remote(const std::string& path, const std::string& place);

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
