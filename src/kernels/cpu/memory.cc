#include "kernels/cpu/memory.h"

#include <c10/core/CPUAllocator.h>
#include <malloc.h>
#include <sys/mman.h>

#include <map>
#include <mutex>
#include <shared_mutex>
#include <utility>

namespace shoal::kernels {
namespace {

thread_local AllocationHook* serving = nullptr;

c10::Allocator& usual_allocator() { return *c10::GetDefaultCPUAllocator(); }

// Memory that is never freed piece by piece.
class Regions {
 public:
  void add(const std::byte* begin, size_t bytes) {
    const std::unique_lock lock(mutex_);
    ends_[begin] = begin + bytes;
  }
  void remove(const std::byte* begin) {
    const std::unique_lock lock(mutex_);
    ends_.erase(begin);
  }
  bool contains(const void* data) const {
    const std::shared_lock lock(mutex_);
    const auto after = ends_.upper_bound(static_cast<const std::byte*>(data));
    return after != ends_.begin() && data < std::prev(after)->second;
  }

 private:
  mutable std::shared_mutex mutex_;
  std::map<const std::byte*, const std::byte*> ends_;
};
Regions& regions() {
  static Regions all;
  return all;
}

// LibTorch's libraries also allocate and free bare pointers (raw_allocate), so one function must know what to
// do with any of them.
void release(void* data) {
  if (data == nullptr || (serving != nullptr && serving->release(data)) || regions().contains(data)) return;
  usual_allocator().raw_deallocate(data);
}
void keep(void*) {}

// Installed once in front of LibTorch's CPU allocator.
class HookedAllocator final : public c10::Allocator {
 public:
  c10::DataPtr allocate(size_t bytes) override {
    return serving == nullptr ? usual_allocator().allocate(bytes) : serving->allocate(bytes);
  }
  c10::DeleterFnPtr raw_deleter() const override { return &release; }
  void copy_data(void* to, const void* from, size_t bytes) const override {
    usual_allocator().copy_data(to, from, bytes);
  }
};

void install_allocator() {
  static std::once_flag once;
  std::call_once(once, [] {
    static HookedAllocator allocator;
    c10::SetCPUAllocator(&allocator, /*priority=*/100);
  });
}

}  // namespace

AllocationHook* serve_allocations(AllocationHook* hook) {
  install_allocator();
  return std::exchange(serving, hook);
}

c10::DataPtr allocate_usual(size_t bytes) {
  void* const data = usual_allocator().raw_allocate(bytes);
  return {data, data, &release, c10::Device(at::kCPU)};
}

c10::DataPtr lend_memory(void* data) { return {data, data, &keep, c10::Device(at::kCPU)}; }

std::byte* reserve_region(size_t bytes) noexcept {
  void* const memory = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return nullptr;
  ::madvise(memory, bytes, MADV_HUGEPAGE);
  auto* const region = static_cast<std::byte*>(memory);
  try {
    regions().add(region, bytes);
  } catch (const std::bad_alloc&) {
    ::munmap(memory, bytes);
    return nullptr;
  }
  // The memory that a region replaces lies free in the heap, and is as large.
  ::malloc_trim(0);
  return region;
}

void give_region_back(std::byte* region, size_t bytes) noexcept {
  regions().remove(region);
  ::munmap(region, bytes);
}

}  // namespace shoal::kernels
