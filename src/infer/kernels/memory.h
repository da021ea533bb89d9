// Memory whose beginning is a multiple of 64 bytes, all zeros at first. Of a large piece the machine gives
// pages as they are first written, so a cache takes what its tokens take.
#pragma once

#include <sys/mman.h>

#include <cstddef>
#include <new>
#include <utility>

namespace shoal::infer {

class Memory {
 public:
  Memory() = default;
  explicit Memory(size_t bytes) : bytes_(bytes) {
    if (bytes == 0) return;
    void* const pages = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (pages == MAP_FAILED) throw std::bad_alloc();
    data_ = static_cast<std::byte*>(pages);
  }
  ~Memory() {
    if (data_ != nullptr) ::munmap(data_, bytes_);
  }
  Memory(Memory&& other) noexcept { *this = std::move(other); }
  Memory& operator=(Memory&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(bytes_, other.bytes_);
    return *this;
  }
  std::byte* data() const { return data_; }
  size_t bytes() const { return bytes_; }
  /// At least so many bytes; what stood there is gone where it had fewer.
  void reserve(size_t bytes) {
    if (bytes > bytes_) *this = Memory(bytes);
  }

 private:
  std::byte* data_ = nullptr;
  size_t bytes_ = 0;
};

}  // namespace shoal::infer
