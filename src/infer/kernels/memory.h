// Memory whose beginning is a multiple of 64 bytes, all zeros at first. Of a large piece the machine gives
// pages as they are first written, so a cache takes what its tokens take.
#pragma once

#include <cstddef>
#include <memory>
#include <utility>

namespace shoal::infer {

class Memory {
 public:
  Memory() = default;
  explicit Memory(size_t bytes);
  /// For what is written once and read again and again, from one end to the other: a piece of a region that many
  /// share, in huge pages where the machine has such. With small ones a core reads weights a third slower. Any thread.
  static Memory of_weights(size_t bytes);

  Memory(Memory&& other) noexcept : data_(std::move(other.data_)), bytes_(std::exchange(other.bytes_, 0)) {}
  Memory& operator=(Memory&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(bytes_, other.bytes_);
    return *this;
  }

  std::byte* data() const { return data_.get(); }
  size_t bytes() const { return bytes_; }
  /// At least so many bytes; what stood there is gone where it had fewer.
  void reserve(size_t bytes) {
    if (bytes > bytes_) *this = Memory(bytes);
  }

 private:
  Memory(std::shared_ptr<std::byte> data, size_t bytes) : data_(std::move(data)), bytes_(bytes) {}

  std::shared_ptr<std::byte> data_;  // keeps the whole region
  size_t bytes_ = 0;
};

}  // namespace shoal::infer
