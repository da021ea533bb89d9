// Memory whose beginning is a multiple of 64 bytes, all zeros at first.
#pragma once

#include <cstddef>
#include <cstring>
#include <new>
#include <utility>

namespace shoal::infer {

class Memory {
 public:
  Memory() = default;
  explicit Memory(size_t bytes) : bytes_(bytes) {
    if (bytes == 0) return;
    data_ = static_cast<std::byte*>(::operator new (bytes, std::align_val_t{64}));
    std::memset(data_, 0, bytes);
  }
  ~Memory() {
    if (data_ != nullptr) ::operator delete (data_, std::align_val_t{64});
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
