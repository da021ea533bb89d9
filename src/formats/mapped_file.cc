#include "formats/mapped_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>

#include "base/text.h"
#include "shoal/error.h"

namespace shoal::formats {

MappedFile::MappedFile(const std::filesystem::path& path, const std::string& want) : place_(path.string()) {
  const auto unreadable = [&](const std::string& cause) {
    return InputError(cat(place_, " - cannot be read: ", cause, "; want ", want));
  };
  const auto failed = [&] { return unreadable(std::generic_category().message(errno)); };
  const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);  // no waiting for a fifo
  if (descriptor < 0) throw failed();
  struct Closer {
    int descriptor;
    ~Closer() { ::close(descriptor); }
  } closer{descriptor};
  struct stat status;
  if (::fstat(descriptor, &status) != 0) throw failed();
  if (!S_ISREG(status.st_mode)) throw unreadable("no regular file");
  bytes_ = static_cast<size_t>(status.st_size);
  if (bytes_ == 0) return;  // nothing can be mapped of it
  void* const memory = ::mmap(nullptr, bytes_, PROT_READ, MAP_SHARED, descriptor, 0);
  if (memory == MAP_FAILED) throw failed();
  memory_ = static_cast<const std::byte*>(memory);
}

MappedFile::~MappedFile() {
  if (memory_) ::munmap(const_cast<std::byte*>(memory_), bytes_);
}

std::string read_text(const std::filesystem::path& path, const std::string& want, size_t most) {
  const MappedFile file(path, want);
  if (file.bytes().size() > most)
    throw InputError(cat(file.place(), " - size: got ", human_bytes(file.bytes().size()), ", want at most ",
                         human_bytes(most), " for ", want));
  return {reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size()};
}

}  // namespace shoal::formats
