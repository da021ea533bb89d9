#include "data/mapped_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <cerrno>
#include <system_error>
#include <utility>

#include "base/hash.h"
#include "base/text.h"
#include "data/files.h"
#include "shoal/error.h"

namespace shoal::data {

namespace {
std::string cause() { return std::generic_category().message(errno); }
}  // namespace

MappedFile::MappedFile(std::filesystem::path path, int64_t bytes, std::string checksum, std::string repair)
    : path_(std::move(path)), checksum_(std::move(checksum)), repair_(std::move(repair)) {
  const std::string place = path_.string();
  const Descriptor file(::open(place.c_str(), O_RDONLY | O_CLOEXEC));
  struct stat status;
  if (file < 0 || ::fstat(file, &status) != 0)
    throw InputError(cat(place, " - cannot be read: ", cause(), "; ", repair_));
  if (status.st_size != bytes)
    throw InputError(
        cat(place, " - cut off or grown: got ", status.st_size, " bytes, want ", bytes, "; ", repair_));
  void* address = ::mmap(nullptr, static_cast<size_t>(bytes), PROT_READ, MAP_SHARED, file, 0);
  if (address == MAP_FAILED) throw JobError(cat(place, " - cannot be mapped: ", cause()));
  bytes_ = {static_cast<const std::byte*>(address), static_cast<size_t>(bytes)};
}

MappedFile::~MappedFile() { ::munmap(const_cast<std::byte*>(bytes_.data()), bytes_.size()); }

std::span<const std::byte> MappedFile::verified(
    const std::function<void(std::span<const std::byte>)>& check) const {
  if (is_verified_.load(std::memory_order_acquire)) return bytes_;
  const std::lock_guard lock(verifying_);  // one thread looks, the others wait for its word
  if (is_verified_.load(std::memory_order_relaxed)) return bytes_;
  const std::string checksum = hash_hex(bytes_);
  if (checksum != checksum_)
    throw InputError(
        cat(path_.string(), " - damaged: got checksum ", checksum, ", want ", checksum_, "; ", repair_));
  if (check) check(bytes_);
  is_verified_.store(true, std::memory_order_release);
  return bytes_;
}

}  // namespace shoal::data
