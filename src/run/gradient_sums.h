// Sums of gradients over microbatches, along the tree (docs/numerics.md, "one tree"): what `add` and both forms
// of `reduce_scatter` do. Wherever the terms lie, the sum is one call of Device::sum_roots.
#pragma once

#include <span>
#include <vector>

#include "lower/buckets.h"
#include "lower/gradient_schedule.h"
#include "run/bucket_ring.h"
#include "run/device_memory.h"

namespace shoal::run {

class GradientSums {
 public:
  /// Collective over the world where the layout has buckets. `memory`, and `waits`, where waits for buckets are noted,
  /// must outlive this.
  GradientSums(const comm::Group& world, DeviceMemory& memory, Waits& waits);

  /// A gradient of this device's own: stored in the accumulator (in fp32 when `widens`), or added to it.
  void store(int accumulator, const lower::Contribution&, const at::Tensor& gradient, bool adds, bool widens);
  /// Where a gradient that is stored as its kernel leaves it can be made; else null.
  void* place_of(int accumulator, const lower::Contribution&, bool adds, bool widens);
  /// accumulator += from, of all that this device holds.
  void add(int accumulator, int from, const std::vector<lower::Contribution>&);

  /// REQUIRES, of these two: the layout has buckets. `gradients`: contiguous, in the order of the bucket's items; null for a
  /// device without a microbatch.
  void begin(const lower::Bucket&, const std::vector<at::Tensor>* gradients);
  /// Each of the sums, of the bucket's blocks that this device owns; `active` devices have gradients in it.
  void sum_begun(const lower::Bucket&, int active, const std::vector<lower::Sum>& sums);

  /// The sum over all microbatches, of each block of this device's share: every contribution along the tree,
  /// then the contributions in captured order; and the block's sum of squares, on the board.
  void sum_share(const lower::Sum& total);

  int64_t window_bytes() const { return ring_ ? ring_->window_bytes() : 0; }

 private:
  comm::DType kernel_dtype(const lower::Contribution&) const;
  // `read(term, t)` gives the data of term t where it is not this device's own shard's.
  template <class Read>
  void sum_terms(const lower::Sum&, const lower::Contribution&, Range elements, std::span<float> into,
                 const Read& read);

  DeviceMemory& memory_;
  kernels::Device& device_;
  const lower::Storage& storage_;
  std::optional<BucketRing> ring_;
  std::vector<std::vector<std::byte>> scratch_;  // one per term, for transports that cannot read in place
  at::Tensor addend_;  // fp32, as many elements as were needed at most
};

}  // namespace shoal::run
