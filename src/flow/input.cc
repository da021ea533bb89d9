#include "flow/input.h"

#include <arrow/io/file.h>
#include <arrow/util/key_value_metadata.h>

#include "base/hash.h"
#include "base/text.h"
#include "flow/arrow.h"
#include "flow/remote.h"
#include "shoal/error.h"

namespace shoal::flow {
namespace {

constexpr size_t kLocalBlock = size_t{1} << 19;
constexpr size_t kRemoteBlock = size_t{1} << 23;  // each costs a request

/// Objects have no time finer than a second, but a tag that changes with what is in them.
Input::State state_of(arrow::io::RandomAccessFile& file, const std::string& path) {
  const int64_t bytes = value(file.GetSize(), path);
  std::string tag;
  const auto metadata = value(file.ReadMetadata(), path);
  for (const char* const name : {"ETag", "Last-Modified"})
    if (metadata && metadata->Contains(name)) tag += value(metadata->Get(name), path) + "\n";
  return {bytes, static_cast<int64_t>(hash_bits(tag))};
}

}  // namespace

Input::Input(const std::string& path) : path_(path) {
  if (is_remote(path))
    remote_ = read_remote(path);
  else
    local_.emplace(path);
}

Input::~Input() = default;

Input::State Input::state() const { return remote_ ? state_of(*remote_, path_) : local_->state(); }

size_t Input::read(int64_t offset, std::span<std::byte> bytes) const {
  if (local_) return local_->read(offset, bytes);
  const auto got = remote_->ReadAt(offset, static_cast<int64_t>(bytes.size()), bytes.data());
  return static_cast<size_t>(value(got, path_));
}

size_t Input::block_bytes() const { return remote_ ? kRemoteBlock : kLocalBlock; }

void Input::expect_unchanged(const State& before) const {
  if (local_) return local_->expect_unchanged(before);
  // What is open knows what was there when it was opened.
  if (state_of(*read_remote(path_), path_) != before)
    throw JobError(cat(path_, " - changed while it was read; run the same command again once it rests"));
}

std::shared_ptr<arrow::io::RandomAccessFile> Input::file() const {
  if (remote_) return remote_;
  return value(arrow::io::ReadableFile::Open(path_), path_);
}

}  // namespace shoal::flow
