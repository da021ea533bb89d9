#include "flow/remote.h"

#include <arrow/filesystem/filesystem.h>
#include <arrow/util/config.h>
#include <fnmatch.h>

#include <algorithm>
#include <map>
#include <mutex>

#include "base/text.h"
#include "flow/arrow.h"
#include "flow/source.h"
#include "shoal/error.h"

namespace shoal::flow {
namespace {

constexpr std::string_view kScheme = "s3://";

using FileSystem = std::shared_ptr<arrow::fs::FileSystem>;

/// Where Arrow has S3 in a library of its own, that is loaded, once.
void load_s3() {
  static std::once_flag once;
  std::call_once(once, [] {
    const std::string library = cat("libarrow_s3.so.", ARROW_SO_VERSION);
    // Not there: Arrow knows S3 itself, or says so.
    (void)arrow::fs::LoadFileSystemFactories(library.c_str());
  });
}

/// It wants to be ended before its own statics are, so this one is made after them.
void end_s3_at_exit() {
  struct End {
    ~End() { arrow::fs::EnsureFinalized(); }
  };
  static const End kEnd;
}

std::string bucket_of(const std::string& path) {
  const std::string name = remote_name(path);
  return name.substr(0, name.find('/'));
}

/// One for each bucket, which may have its own region. A small object is one request.
FileSystem file_system(const std::string& path) {
  static std::mutex mutex;
  static std::map<std::string, FileSystem> systems;
  check_remote(path);
  const std::string bucket = bucket_of(path);
  const std::lock_guard lock(mutex);
  FileSystem& system = systems[bucket];
  if (!system) {
    load_s3();
    auto made = arrow::fs::FileSystemFromUri(cat(kScheme, bucket, "?allow_delayed_open=true"));
    if (!made.ok()) {
      systems.erase(bucket);
      throw InputError(cat(path, " - cannot be reached: ", reason(made.status())));
    }
    system = *made;
    end_s3_at_exit();
  }
  return system;
}

template <class T>
T told(arrow::Result<T> answer, const std::string& place) {
  if (!answer.ok()) throw InputError(cat(place, " cannot be read: ", reason(answer.status())));
  return std::move(answer).ValueUnsafe();
}

arrow::fs::FileInfoVector list(arrow::fs::FileSystem& system, const std::string& folder, bool recursive,
                               const std::string& place) {
  arrow::fs::FileSelector selector;
  selector.base_dir = folder;
  selector.recursive = recursive;
  selector.allow_not_found = true;
  return told(system.GetFileInfo(selector), place);
}

}  // namespace

bool is_remote(const std::string& path) { return path.starts_with(kScheme); }

void check_remote(const std::string& path) {
  const std::string bucket = bucket_of(path);
  if (const size_t key = bucket.find('@'); key != std::string::npos)
    throw InputError(cat(kScheme, "...", bucket.substr(key),
                         " - got a key in the path, which is kept beside what is written; "
                         "want it in AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"));
  if (bucket.empty()) throw InputError(cat(path, " - got no bucket, want s3://BUCKET/KEY"));
}

std::string remote_name(const std::string& path) {
  std::string name = path.substr(kScheme.size());
  while (name.ends_with('/')) name.pop_back();
  return name;
}

std::vector<std::string> list_remote(const std::string& path, const std::string& place) {
  const FileSystem system = file_system(path);
  const std::string object = remote_name(path), here = cat(place, ": paths: ", path);
  const size_t slash = object.rfind('/');
  std::vector<std::string> files;
  if (slash != std::string::npos && object.find_first_of("*[", slash) != std::string::npos) {
    for (const auto& info : list(*system, object.substr(0, slash), false, here))
      if (info.IsFile() && ::fnmatch(object.c_str() + slash + 1, info.base_name().c_str(), FNM_PERIOD) == 0)
        files.push_back(cat(kScheme, info.path()));
  } else if (const auto info = told(system->GetFileInfo(object), here); info.IsFile()) {
    files.push_back(cat(kScheme, info.path()));
  } else if (info.IsDirectory()) {
    for (const auto& one : list(*system, object, true, here))
      if (one.IsFile() && is_input_name(one.path().substr(object.size() + 1)))
        files.push_back(cat(kScheme, one.path()));
  } else {
    throw InputError(cat(here, " is no object or folder; name one that is there"));
  }
  std::sort(files.begin(), files.end());
  return files;
}

std::vector<std::string> remote_files(const std::string& folder) {
  const std::string name = remote_name(folder);
  std::vector<std::string> files;
  for (const auto& info : list(*file_system(folder), name, true, cat(folder, " -")))
    if (info.IsFile()) files.push_back(info.path().substr(name.size() + 1));
  const std::string bucket = bucket_of(folder);
  if (files.empty() && told(file_system(folder)->GetFileInfo(bucket), cat(folder, " -")).type() ==
                           arrow::fs::FileType::NotFound)
    throw InputError(cat(folder, " - there is no bucket ", bucket, "; name one that is there"));
  std::sort(files.begin(), files.end());
  return files;
}

std::optional<int64_t> remote_bytes(const std::string& path) {
  const auto info = told(file_system(path)->GetFileInfo(remote_name(path)), cat(path, " -"));
  if (!info.IsFile()) return {};
  return info.size();
}

std::shared_ptr<arrow::io::RandomAccessFile> read_remote(const std::string& path) {
  return told(file_system(path)->OpenInputFile(remote_name(path)), cat(path, " -"));
}

std::shared_ptr<arrow::io::OutputStream> write_remote(const std::string& path) {
  auto stream = file_system(path)->OpenOutputStream(remote_name(path));
  if (!stream.ok()) throw JobError(cat(path, " - cannot be created: ", reason(stream.status())));
  return *stream;
}

}  // namespace shoal::flow
