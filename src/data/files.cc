#include "data/files.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <fstream>
#include <iterator>
#include <system_error>
#include <utility>

#include "base/text.h"
#include "shoal/error.h"
#include "state/durable.h"

namespace shoal::data {

namespace {
namespace fs = std::filesystem;

std::string cause() { return std::generic_category().message(errno); }
}  // namespace

Descriptor::~Descriptor() {
  if (number_ >= 0) ::close(number_);
}

InputFile::InputFile(const std::string& path)
    : path_(path), descriptor_(::open(path.c_str(), O_RDONLY | O_CLOEXEC)) {
  if (descriptor_ < 0)
    throw InputError(cat(path, " - cannot be read: ", cause(), "; make it readable, or name it in exclude"));
}

InputFile::State InputFile::state() const {
  struct stat status;
  if (::fstat(descriptor_, &status) != 0) throw JobError(cat(path_, " - cannot be read: ", cause()));
  return {status.st_size, status.st_mtim.tv_sec * int64_t{1'000'000'000} + status.st_mtim.tv_nsec};
}

size_t InputFile::read(int64_t offset, std::span<std::byte> bytes) const {
  size_t done = 0;
  while (done < bytes.size()) {
    const ssize_t got =
        ::pread(descriptor_, bytes.data() + done, bytes.size() - done, offset + static_cast<int64_t>(done));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) throw JobError(cat(path_, " - cannot be read: ", cause()));
    if (got == 0) break;
    done += static_cast<size_t>(got);
  }
  return done;
}

void InputFile::expect_unchanged(const State& before) const {
  const State now = state();
  if (now == before) return;
  const std::string detail = now.bytes != before.bytes
                                 ? cat("got ", now.bytes, " bytes, want the ", before.bytes, " that it had")
                                 : std::string("it was written again");
  throw JobError(
      cat(path_, " - changed while it was read: ", detail, "; run the same command again once it rests"));
}

void write_whole(const fs::path& path, std::span<const std::byte> bytes, const OnStep& on_step) {
  const std::string name = path.filename().string();
  const fs::path part = path.string() + ".part";
  on_step("write " + name);
  state::remove_tree(part);
  state::OutputFile file(part);
  file.write(bytes);
  on_step("sync " + name);
  file.finish();
  on_step("rename " + name);
  state::rename_path(part, path);
}

std::string read_whole(const fs::path& path) {
  std::error_code ignored;
  if (!fs::is_regular_file(path, ignored)) return "";  // a fifo would be waited for
  std::ifstream stream(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(stream), {}};
}

FolderLock::FolderLock(const fs::path& folder)
    : folder_(folder), descriptor_(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)) {
  if (descriptor_ < 0) throw JobError(cat(folder.string(), " - cannot be opened: ", cause()));
}

void FolderLock::own() { lock(LOCK_EX); }
void FolderLock::share() { lock(LOCK_SH); }

void FolderLock::lock(int kind) {
  // Where the file system has no locks, there is nothing to wait for.
  if (::flock(descriptor_, kind | LOCK_NB) != 0 && errno == EWOULDBLOCK) {
    throw InputError(
        cat(folder_.string(), " - another shoal data writes here; wait for its end, or name another --out"));
  }
}

}  // namespace shoal::data
