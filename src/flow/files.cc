#include "flow/files.h"

#include <fcntl.h>
#include <unistd.h>

#include <arrow/status.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <future>
#include <span>
#include <system_error>
#include <utility>
#include <vector>

#include "base/text.h"
#include "data/files.h"
#include "flow/arrow.h"
#include "flow/input.h"
#include "flow/remote.h"
#include "shoal/error.h"
#include "state/durable.h"

namespace shoal::flow {
namespace {
constexpr size_t kBufferBytes = size_t{1} << 18;
constexpr int64_t kMostUnsent = int64_t{1} << 25;

std::string cause() { return std::generic_category().message(errno); }
}  // namespace

FileSink::FileSink(const std::filesystem::path& path) : path_(path), part_(path.string() + ".part") {
  if (is_remote(path.string())) {
    remote_ = write_remote(path.string());
    return;
  }
  descriptor_ = ::open(part_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  if (descriptor_ < 0) throw JobError(cat(path_.string(), " - cannot be created: ", cause()));
}

FileSink::~FileSink() {
  if (descriptor_ >= 0) ::close(descriptor_);
  if (remote_) (void)remote_->Abort();  // it would be stored otherwise
}

arrow::Status FileSink::flush() {
  const arrow::Status status = put(buffer_);
  buffer_.clear();
  return status;
}

arrow::Status FileSink::put(std::string_view rest) {
  if (remote_) {
    arrow::Status status = remote_->Write(rest.data(), static_cast<int64_t>(rest.size()));
    unsent_ += static_cast<int64_t>(rest.size());
    if (status.ok() && unsent_ >= kMostUnsent) {  // pieces are sent by other threads: wait for them
      status = remote_->Flush();
      unsent_ = 0;
    }
    return status.ok() ? status : arrow::Status::IOError("cannot be written: ", reason(status));
  }
  while (!rest.empty()) {
    const ssize_t written = ::write(descriptor_, rest.data(), rest.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return arrow::Status::IOError("cannot be written: ", cause());
    rest.remove_prefix(static_cast<size_t>(written));
  }
  return arrow::Status::OK();
}

arrow::Status FileSink::Write(const void* data, int64_t bytes) {
  const auto* begin = static_cast<const char*>(data);
  hasher_.add({reinterpret_cast<const std::byte*>(begin), static_cast<size_t>(bytes)});
  bytes_ += bytes;
  if (static_cast<size_t>(bytes) >= kBufferBytes) {
    ARROW_RETURN_NOT_OK(flush());
    return put({begin, static_cast<size_t>(bytes)});
  }
  buffer_.append(begin, static_cast<size_t>(bytes));
  return buffer_.size() < kBufferBytes ? arrow::Status::OK() : flush();
}

arrow::Status FileSink::Close() { return flush(); }  // place() needs it open still

void FileSink::place(bool starts_writing) {
  if (const arrow::Status status = flush(); !status.ok())
    throw JobError(cat(path_.string(), " - ", status.message()));
  if (remote_) {
    if (const arrow::Status status = remote_->Close(); !status.ok())
      throw JobError(cat(path_.string(), " - cannot be written: ", reason(status)));
    remote_.reset();
    return;
  }
  if (starts_writing)
    ::sync_file_range(descriptor_, 0, 0, SYNC_FILE_RANGE_WRITE);  // in vain: sync_files() says so
  if (::close(std::exchange(descriptor_, -1)) != 0)
    throw JobError(cat(path_.string(), " - cannot be written: ", cause()));
  state::rename_path(part_, path_);
}

namespace {

void sync_file(const std::filesystem::path& path) {
  if (is_remote(path.string())) return;
  const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  const int result = descriptor < 0 ? -1 : ::fsync(descriptor);
  const std::string why = cause();
  if (descriptor >= 0) ::close(descriptor);
  if (result != 0) throw JobError(cat(path.string(), " - cannot be written: ", why));
}

}  // namespace

void sync_files(const std::vector<std::filesystem::path>& paths) {
  constexpr size_t kAtOnce = 8;  // a disk's answers to those that wait together are one
  std::atomic<size_t> next = 0;
  std::vector<std::future<void>> workers;
  for (size_t i = 0; i < std::min(kAtOnce, paths.size()); ++i)
    workers.push_back(std::async(std::launch::async, [&] {
      for (size_t at = next++; at < paths.size(); at = next++) sync_file(paths[at]);
    }));
  for (std::future<void>& worker : workers) worker.get();
}

void write_text(const std::filesystem::path& path, const std::string& text) {
  if (!is_remote(path.string()))
    return data::write_whole(path, std::as_bytes(std::span(text)), [](const std::string&) {});
  FileSink file(path);
  require(file.Write(text.data(), static_cast<int64_t>(text.size())), path.string());
  file.place(/*starts_writing=*/true);
}

std::optional<int64_t> file_bytes(const std::filesystem::path& path) {
  if (is_remote(path.string())) return remote_bytes(path.string());
  std::error_code missing;
  if (!std::filesystem::is_regular_file(path, missing)) return {};
  return static_cast<int64_t>(std::filesystem::file_size(path));
}

std::string read_text(const std::filesystem::path& path) {
  if (!is_remote(path.string())) return data::read_whole(path);
  std::string text(static_cast<size_t>(remote_bytes(path.string()).value_or(0)), '\0');
  if (!text.empty()) text.resize(Input(path.string()).read(0, std::as_writable_bytes(std::span(text))));
  return text;
}

std::string file_checksum(const std::filesystem::path& path) {
  if (!file_bytes(path)) return "";
  const Input file(path.string());
  std::vector<std::byte> block(std::max(size_t{1} << 20, file.block_bytes()));
  Hasher hasher;
  for (int64_t at = 0;;) {
    const size_t got = file.read(at, block);
    if (got == 0) return hasher.hex();
    hasher.add(std::span(block).first(got));
    at += static_cast<int64_t>(got);
  }
}

}  // namespace shoal::flow
