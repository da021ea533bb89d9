#include "infer/kernels/memory.h"

#include <sys/mman.h>

#include <algorithm>
#include <mutex>
#include <new>

namespace shoal::infer {
namespace {

constexpr size_t kLine = 64, kRegion = size_t{64} << 20;

std::shared_ptr<std::byte> map(size_t bytes) {
  void* const pages = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (pages == MAP_FAILED) throw std::bad_alloc();
  return {static_cast<std::byte*>(pages), [bytes](std::byte* begin) { ::munmap(begin, bytes); }};
}

/// The region that pieces are cut from now. Its rest is never written, and takes nothing.
struct Cutter {
  std::mutex mutex;
  std::shared_ptr<std::byte> region;
  size_t used = 0, size = 0;
};

}  // namespace

Memory::Memory(size_t bytes) : bytes_(bytes) {
  if (bytes > 0) data_ = map(bytes);
}

Memory Memory::of_weights(size_t bytes) {
  static Cutter cutter;
  const std::lock_guard lock(cutter.mutex);
  const size_t wanted = (bytes + kLine - 1) / kLine * kLine;
  if (cutter.size - cutter.used < wanted) {
    cutter.size = std::max(wanted, kRegion);
    cutter.region = map(cutter.size);
    cutter.used = 0;
    ::madvise(cutter.region.get(), cutter.size, MADV_HUGEPAGE);  // where it fails, small pages do
  }
  std::byte* const begin = cutter.region.get() + std::exchange(cutter.used, cutter.used + wanted);
  return {std::shared_ptr<std::byte>(cutter.region, begin), bytes};
}

}  // namespace shoal::infer
