#include "state/scratch_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "base/text.h"
#include "shoal/error.h"

namespace shoal::state {
namespace {

int open_without_name(const std::filesystem::path& folder) {
  if (const int file = ::open(folder.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600); file >= 0) return file;
  std::string name = (folder / "shoal-scratch-XXXXXX").string();  // some file systems have only named ones
  const int file = ::mkostemp(name.data(), O_CLOEXEC);
  if (file < 0)
    throw InputError(cat(folder.string(), " - offload: no file can be made there (", std::strerror(errno),
                         "); want a folder on a disk, which this process may write to"));
  ::unlink(name.c_str());
  return file;
}

}  // namespace

ScratchFile::ScratchFile(const std::filesystem::path& folder, size_t bytes) : bytes_(bytes) {
  const int file = open_without_name(folder);
  if (bytes == 0) {
    ::close(file);
    return;
  }
  int no_room;
  do no_room = ::posix_fallocate(file, 0, static_cast<off_t>(bytes));
  while (no_room == EINTR);
  void* const memory = no_room ? MAP_FAILED : ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  const int reason = no_room ? no_room : errno;
  ::close(file);
  if (memory == MAP_FAILED)
    throw JobError(cat(folder.string(), " - offload: a file of ", human_bytes(bytes), " cannot be made or mapped there (", std::strerror(reason), ")"));
  memory_ = static_cast<std::byte*>(memory);
}

ScratchFile::~ScratchFile() {
  if (memory_) ::munmap(memory_, bytes_);
}

void ScratchFile::rest() {
  if (!memory_) return;
  ::madvise(memory_, bytes_, MADV_DONTNEED);  // of a shared mapping: what was written stays in the file
}

}  // namespace shoal::state
