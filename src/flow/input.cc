#include "flow/input.h"

#include <arrow/filesystem/filesystem.h>
#include <arrow/io/file.h>
#include <arrow/util/config.h>
#include <arrow/util/key_value_metadata.h>
#include <fnmatch.h>

#include <algorithm>
#include <map>
#include <mutex>

#include "base/hash.h"
#include "base/text.h"
#include "flow/arrow.h"
#include "flow/source.h"
#include "shoal/error.h"

namespace shoal::flow {
namespace {

constexpr std::string_view kScheme = "s3://";
constexpr size_t kLocalBlock = size_t{1} << 19;
constexpr size_t kRemoteBlock = size_t{1} << 23;  // each costs a request

using FileSystem = std::shared_ptr<arrow::fs::FileSystem>;

/// What stands behind the scheme: BUCKET/KEY.
std::string object_of(const std::string& path) { return path.substr(kScheme.size()); }

/// Where Arrow has S3 in a library of its own, that is loaded, once.
void load_s3() {
  static std::once_flag once;
  std::call_once(once, [] {
    const std::string library = cat("libarrow_s3.so.", ARROW_SO_VERSION);
    (void)arrow::fs::LoadFileSystemFactories(library.c_str());  // not there: Arrow knows S3 itself, or says so
  });
}

/// It wants to be ended before its own statics are, so this one is made after them.
void end_s3_at_exit() {
  struct End {
    ~End() { arrow::fs::EnsureFinalized(); }
  };
  static const End kEnd;
}

/// One for each bucket, which may have its own region.
FileSystem file_system(const std::string& path) {
  static std::mutex mutex;
  static std::map<std::string, FileSystem> systems;
  const std::string object = object_of(path);
  const std::string bucket = object.substr(0, object.find('/'));
  const size_t key = bucket.find('@');
  if (key != std::string::npos)
    throw InputError(cat("s3://...", bucket.substr(key),
                         " - paths: got a key in the path, which is kept beside what is written; "
                         "want it in AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"));
  if (bucket.empty()) throw InputError(cat(path, " - paths: got no bucket, want s3://BUCKET/KEY"));
  const std::lock_guard lock(mutex);
  FileSystem& system = systems[bucket];
  if (!system) {
    load_s3();
    auto made = arrow::fs::FileSystemFromUri(cat(kScheme, bucket));
    if (!made.ok()) {
      systems.erase(bucket);
      throw InputError(cat(path, " - cannot be read: ", reason(made.status())));
    }
    system = *made;
    end_s3_at_exit();
  }
  return system;
}

std::shared_ptr<arrow::io::RandomAccessFile> open_remote(const std::string& path) {
  auto file = file_system(path)->OpenInputFile(object_of(path));
  if (!file.ok()) throw InputError(cat(path, " - cannot be read: ", reason(file.status())));
  return *file;
}

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

bool is_remote(const std::string& path) { return path.starts_with(kScheme); }

std::vector<std::string> list_remote(const std::string& path, const std::string& place) {
  const FileSystem system = file_system(path);
  std::string object = object_of(path);
  while (object.ends_with('/')) object.pop_back();
  const auto told = [&](auto answer) {
    if (answer.ok()) return std::move(answer).ValueUnsafe();
    throw InputError(cat(place, ": paths: ", path, " cannot be read: ", reason(answer.status())));
  };
  const auto listed = [&](const std::string& folder, bool recursive) {
    arrow::fs::FileSelector selector;
    selector.base_dir = folder;
    selector.recursive = recursive;
    return told(system->GetFileInfo(selector));
  };
  const size_t slash = object.rfind('/');
  std::vector<std::string> files;
  if (slash != std::string::npos && object.find_first_of("*[", slash) != std::string::npos) {
    for (const auto& info : listed(object.substr(0, slash), false))
      if (info.IsFile() && ::fnmatch(object.c_str() + slash + 1, info.base_name().c_str(), FNM_PERIOD) == 0)
        files.push_back(cat(kScheme, info.path()));
  } else if (const arrow::fs::FileInfo info = told(system->GetFileInfo(object)); info.IsFile()) {
    files.push_back(cat(kScheme, info.path()));
  } else if (info.IsDirectory()) {
    for (const auto& one : listed(object, true))
      if (one.IsFile() && is_input_name(one.path().substr(object.size() + 1)))
        files.push_back(cat(kScheme, one.path()));
  } else {
    throw InputError(cat(place, ": paths: ", path, " is no object or folder; name one that is there"));
  }
  std::sort(files.begin(), files.end());
  return files;
}

Input::Input(const std::string& path) : path_(path) {
  if (is_remote(path))
    remote_ = open_remote(path);
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
  if (state_of(*open_remote(path_), path_) != before)
    throw JobError(cat(path_, " - changed while it was read; run the same command again once it rests"));
}

std::shared_ptr<arrow::io::RandomAccessFile> Input::file() const {
  if (remote_) return remote_;
  return value(arrow::io::ReadableFile::Open(path_), path_);
}

}  // namespace shoal::flow
