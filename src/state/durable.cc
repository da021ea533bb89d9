#include "state/durable.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <system_error>
#include <utility>

#include "base/text.h"
#include "shoal/error.h"

namespace shoal::state {

namespace {
namespace fs = std::filesystem;

JobError failure(const fs::path& path, const char* what, int cause = errno) {
  return JobError(cat(path.string(), " - cannot be ", what, ": ", std::generic_category().message(cause)));
}
}  // namespace

OutputFile::OutputFile(const fs::path& path) : path_(path) {
  descriptor_ = ::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
  if (descriptor_ < 0) throw failure(path, "created");
}

OutputFile::~OutputFile() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

void OutputFile::write(std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t written = ::write(descriptor_, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) throw failure(path_, "written");
    bytes = bytes.subspan(static_cast<size_t>(written));
  }
}

void OutputFile::finish() {
  if (::fsync(descriptor_) != 0) throw failure(path_, "written");
  if (::close(std::exchange(descriptor_, -1)) != 0) throw failure(path_, "written");
}

void sync_folder(const fs::path& path) {
  const int descriptor = ::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (descriptor < 0) throw failure(path, "opened");
  const int result = ::fsync(descriptor), cause = errno;
  ::close(descriptor);
  if (result != 0) throw failure(path, "written", cause);
}

void rename_path(const fs::path& from, const fs::path& to) {
  if (::rename(from.c_str(), to.c_str()) != 0) throw failure(to, "put in place");
}

namespace {
/// A name for a new file, where one may be made.
const fs::path& check_new(const fs::path& path) {
  std::error_code error;
  const bool is_there = fs::exists(fs::symlink_status(path, error));
  if (error && error != std::errc::no_such_file_or_directory)
    throw InputError(cat(path.string(), " - cannot be written: ", error.message(), "; choose another name"));
  if (is_there) throw InputError(cat(path.string(), " - is there already; remove it or choose another name"));
  const fs::path folder = fs::absolute(path, error).parent_path();
  if (!fs::is_directory(folder, error))
    throw InputError(cat(path.string(), " - cannot be written: there is no folder ", folder.string()));
  if (::access(folder.c_str(), W_OK | X_OK) != 0)
    throw InputError(cat(path.string(), " - cannot be written: ", std::generic_category().message(errno),
                         "; choose another name"));
  return path;
}
}  // namespace

WholeFile::WholeFile(const fs::path& path)
    : path_(fs::absolute(check_new(path))),
      partial_(path_.parent_path() / cat(".", path_.filename().string(), ".partial")) {
  remove_tree(partial_);  // of a crash
  file_.emplace(partial_);
}

WholeFile::~WholeFile() {
  std::error_code ignored;
  fs::remove(partial_, ignored);
}

void WholeFile::finish() {
  file_->finish();
  rename_path(partial_, path_);
  sync_folder(path_.parent_path());
}

bool exchange_paths(const fs::path& a, const fs::path& b) {
  if (::renameat2(AT_FDCWD, a.c_str(), AT_FDCWD, b.c_str(), RENAME_EXCHANGE) == 0) return true;
  if (errno == EINVAL || errno == ENOSYS) return false;
  throw failure(b, "replaced");
}

bool point_link(const fs::path& link, const fs::path& target) {
  const fs::path beside = link.parent_path() / cat(".", link.filename().string(), ".partial");
  remove_tree(beside);
  if (::symlink(target.c_str(), beside.c_str()) != 0) {
    if (errno == EPERM || errno == EOPNOTSUPP || errno == ENOSYS) return false;
    throw failure(link, "put in place");
  }
  if (::rename(beside.c_str(), link.c_str()) == 0) return true;
  const JobError error = failure(link, "put in place");
  ::unlink(beside.c_str());
  throw error;
}

void remove_tree(const fs::path& path) {
  std::error_code error;
  fs::remove_all(path, error);
  if (error) throw failure(path, "removed", error.value());
}

}  // namespace shoal::state
