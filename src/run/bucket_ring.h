// Gradients on their way to their owners while backward runs (zero >= 2): a ring of buckets in shared memory.
//
// All devices of a data-parallel group make the same calls of begin() and sum_begun(), in the same order; a device
// without a microbatch begins a bucket without gradients. Each call is posted to a group of the ring's own, so
// after the same call all devices have the same count, and whoever waits for a peer's call waits for that.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "comm/group.h"
#include "lower/buckets.h"
#include "run/device_memory.h"
#include "run/waits.h"

namespace shoal::run {

class BucketRing {
 public:
  /// Collective over the world: the devices of each data-parallel group make a group and a window. REQUIRES:
  /// memory.ownership().shards_gradients(). `waits`, where it notes its own, outlives it.
  BucketRing(const comm::Group& world, const DeviceMemory& memory, Waits& waits);

  /// Has `fill` write what this device gives, if anything, once the place is free, and shows it.
  void begin(const std::function<void(std::byte* place)>& fill);
  /// The bucket that was begun next: has `sum` read what `active` devices show of it, and lets go of the place.
  void sum_begun(int active, const std::function<void()>& sum);
  /// Within `sum`: bytes of what `member` shows. The first call waits until all active devices do.
  const std::byte* read(int member, int64_t offset, size_t bytes);
  int rank() const { return group_.rank(); }  // in the data-parallel group

  int64_t window_bytes() const { return std::ssize(window_->mine()); }

 private:
  void await_others(int members, uint64_t count);
  int64_t place(int64_t number) const { return number % lower::kBuckets * bucket_bytes_; }
  uint64_t& begun(int64_t number) { return begun_[static_cast<size_t>(number % lower::kBuckets)]; }
  uint64_t& summed(int64_t number) { return summed_[static_cast<size_t>(number % lower::kBuckets)]; }

  comm::Group group_;  // by dp coordinate
  const int64_t bucket_bytes_;
  std::shared_ptr<comm::Window> window_;
  int64_t num_begun_ = 0, num_summed_ = 0;
  int awaited_ = 0;  // members that the next read() waits for
  std::vector<uint64_t> begun_, summed_;         // the count after these calls, of the last kBuckets buckets
  std::vector<std::vector<std::byte>> scratch_;  // one per peer, for transports that cannot read in place
  Waits& waits_;
};

}  // namespace shoal::run
