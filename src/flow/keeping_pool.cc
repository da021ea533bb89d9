#include "flow/keeping_pool.h"

#include <algorithm>
#include <bit>
#include <cstring>

namespace shoal::flow {
namespace {

constexpr int64_t kSmallest = int64_t{1} << 15;  // below, the allocator's own caches do
constexpr int64_t kAlignment = 64;

/// Sizes of blocks: four in each doubling, so that at most a fifth is lost.
struct SizeClass {
  size_t number;
  int64_t bytes;
};
SizeClass class_of(int64_t size) {
  const int top = std::bit_width(static_cast<uint64_t>(size - 1)) - 1;  // 2^top < size <= 2^(top + 1)
  const int64_t step = int64_t{1} << (top - 2);
  const int64_t steps = (size + step - 1) / step;  // 5 to 8
  return {static_cast<size_t>((top - 14) * 4 + steps - 5), steps * step};
}

bool is_small(int64_t size, int64_t alignment) { return size <= kSmallest || alignment > kAlignment; }

}  // namespace

void KeepingPool::count(int64_t bytes) {
  const int64_t now = in_use_ += bytes;
  for (int64_t most = most_in_use_; now > most && !most_in_use_.compare_exchange_weak(most, now);) {
  }
}

arrow::Status KeepingPool::Allocate(int64_t size, int64_t alignment, uint8_t** out) {
  count(size);
  if (is_small(size, alignment)) return below_->Allocate(size, alignment, out);
  const SizeClass kind = class_of(size);
  if (kind.number < kClasses) {
    const std::lock_guard lock(mutex_);
    auto& blocks = free_[kind.number];
    if (!blocks.empty()) {
      *out = blocks.back();
      blocks.pop_back();
      kept_ -= kind.bytes;
      return arrow::Status::OK();
    }
  }
  return below_->Allocate(kind.bytes, kAlignment, out);
}

arrow::Status KeepingPool::Reallocate(int64_t old_size, int64_t new_size, int64_t alignment,
                                      uint8_t** block) {
  const bool was_small = is_small(old_size, alignment), is_small_now = is_small(new_size, alignment);
  if (was_small && is_small_now) {
    count(new_size - old_size);
    return below_->Reallocate(old_size, new_size, alignment, block);
  }
  if (!was_small && !is_small_now && class_of(old_size).number == class_of(new_size).number) {
    count(new_size - old_size);
    return arrow::Status::OK();
  }
  uint8_t* fresh = nullptr;
  ARROW_RETURN_NOT_OK(Allocate(new_size, alignment, &fresh));
  std::memcpy(fresh, *block, static_cast<size_t>(std::min(old_size, new_size)));
  Free(*block, old_size, alignment);
  *block = fresh;
  return arrow::Status::OK();
}

void KeepingPool::Free(uint8_t* block, int64_t size, int64_t alignment) {
  count(-size);
  if (is_small(size, alignment)) return below_->Free(block, size, alignment);
  const SizeClass kind = class_of(size);
  if (kind.number < kClasses && kept_ + kind.bytes <= most_kept_) {
    const std::lock_guard lock(mutex_);
    free_[kind.number].push_back(block);
    kept_ += kind.bytes;
    return;
  }
  below_->Free(block, kind.bytes, kAlignment);
}

void KeepingPool::ReleaseUnused() {
  const std::lock_guard lock(mutex_);
  for (size_t number = 0; number < kClasses; ++number) {
    const int64_t bytes = int64_t{static_cast<int64_t>(number % 4) + 5} << (number / 4 + 12);
    for (uint8_t* block : free_[number]) {
      below_->Free(block, bytes, kAlignment);
      kept_ -= bytes;
    }
    free_[number].clear();
  }
}

KeepingPool& memory() {
  static KeepingPool* const pool = new KeepingPool;  // never destroyed: buffers may outlive any order of ends
  return *pool;
}

}  // namespace shoal::flow
