// Gradients on their way to their owners while backward runs (zero >= 2): a ring of buckets in shared memory.
//
// All devices of a data-parallel group fill the same sequence of buckets (lower/buckets.h), one round of
// microbatches after the other; a device without a microbatch in the round takes part as an owner. Bucket i
// is written, and, kLag buckets later, read by its owners, who add it to their partial sums along the tree.
// Both are posted to a group of the stream's own, so a device's count says how far it is: within a round of n
// buckets, after
//   writing i:   base + (i + 1) + max(0, i - kLag)
//   reading i:   base + min(i + kLag + 1, n) + (i + 1)
// A bucket is written again when all have read what it held.
#pragma once

#include <ATen/core/TensorBody.h>

#include <memory>
#include <vector>

#include "comm/group.h"
#include "lower/buckets.h"
#include "lower/program.h"
#include "run/device_memory.h"

namespace shoal::run {

class GradientStream {
 public:
  /// Collective over the world: the devices of each data-parallel group make a group and a window. REQUIRES:
  /// memory.ownership().shards_gradients().
  GradientStream(const comm::Group& world, DeviceMemory&);

  /// A round begins: all devices of the group call it with the same buckets. Both are kept by reference.
  void begin(const lower::Instruction& round, const std::vector<lower::Bucket>& buckets);
  /// A gradient of this device's microbatch. REQUIRES: in the order of the buckets.
  void put(size_t contribution, const at::Tensor& gradient);
  /// Ends the round: what others still send is summed.
  void finish();

  int64_t window_bytes() const { return std::ssize(window_->mine()); }
  /// The largest gradient that came through, as its kernel leaves it.
  int64_t largest_gradient_bytes() const { return largest_gradient_; }
  /// Seconds in waits and in sums, since the last call.
  struct Seconds {
    double wait = 0, reduce = 0;
  };
  Seconds take_seconds() { return std::exchange(seconds_, {}); }

 private:
  static constexpr int64_t kLag = lower::kBuckets / 2;
  std::byte* place(int64_t bucket);
  void await_written(int64_t bucket);
  void await_free(int64_t bucket);
  void await_all(int active, int64_t count);
  void post();
  void close_bucket();
  void read_bucket();
  void sum(const lower::BucketItem&, OwnedPiece&, Range elements, int64_t bucket);

  DeviceMemory& memory_;
  comm::Group group_;  // by dp coordinate
  const int64_t bucket_bytes_;
  std::shared_ptr<comm::Window> window_;
  const lower::Instruction* round_ = nullptr;
  const std::vector<lower::Bucket>* buckets_ = nullptr;
  int64_t base_ = 0, posted_ = 0;                // this device's count: at the round's beginning, now
  int64_t first_ = 0;                            // buckets before this round
  int64_t written_ = 0, read_ = 0;               // of this round's
  size_t next_item_ = 0;                         // of the bucket that is being filled
  std::vector<std::vector<std::byte>> scratch_;  // one per peer, for transports that cannot read in place
  int64_t largest_gradient_ = 0;
  Seconds seconds_;
};

}  // namespace shoal::run
