#include "run/frame_memory.h"

#include <algorithm>

#include "base/blocks.h"

namespace shoal::run {

void FrameMemory::begin() {
  measures_ = peak_bytes_ == 0;
  now_ = most_ = 0;
  arena_.begin();
}

void FrameMemory::end(bool is_whole) {
  if (measures_ && is_whole) peak_bytes_ = most_;
  measures_ = false;
  storages_.clear();
  if (arena_.is_running()) arena_.end();
}

FrameMemory::Storage& FrameMemory::storage_of(const at::Tensor& tensor) {
  return storages_[tensor.storage().unsafeGetStorageImpl()];
}

void FrameMemory::add(const at::Tensor& tensor) {
  if (!measures_) return;
  Storage& storage = storage_of(tensor);
  if (++storage.values > 1) return;
  storage.bytes = align_up(static_cast<int64_t>(tensor.storage().nbytes()));
  most_ = std::max(most_, now_ += storage.bytes);
}

void FrameMemory::add_foreign(const at::Tensor& tensor) {
  if (measures_) ++storage_of(tensor).values;
}

void FrameMemory::remove(const at::Tensor& tensor) {
  if (!measures_) return;
  const auto entry = storages_.find(tensor.storage().unsafeGetStorageImpl());
  if (entry == storages_.end() || --entry->second.values > 0) return;
  now_ -= entry->second.bytes;
  storages_.erase(entry);
}

}  // namespace shoal::run
