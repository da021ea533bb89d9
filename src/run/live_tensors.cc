#include "run/live_tensors.h"

#include <algorithm>

namespace shoal::run {

void LiveTensors::add(Entry entry) { entries_.push_back(std::move(entry)); }

void LiveTensors::remove(const void* owner) {
  std::erase_if(entries_, [&](const Entry& entry) { return entry.owner == owner; });
}

const LiveTensors::Entry* LiveTensors::find(const at::Tensor& tensor) const {
  const auto last = [&](auto&& matches) -> const Entry* {
    const auto found = std::find_if(entries_.rbegin(), entries_.rend(), matches);
    return found == entries_.rend() ? nullptr : &*found;
  };
  if (const Entry* same = last([&](const Entry& entry) { return entry.original.is_same(tensor); })) return same;
  if (!tensor.has_storage()) return nullptr;
  return last([&](const Entry& entry) {
    return entry.original.has_storage() &&
           entry.original.storage().unsafeGetStorageImpl() == tensor.storage().unsafeGetStorageImpl();
  });
}

}  // namespace shoal::run
