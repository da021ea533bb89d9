// The memory of one device by what it is for.
#pragma once

#include <cstdint>

namespace shoal {

/// In bytes. The batch is not among it, nor what kernels need for themselves while they run.
struct Memory {
  int64_t weights = 0;      // as forward reads them, and masters where these are kept apart
  int64_t gradients = 0;    // accumulators and sums
  int64_t optimizer = 0;    // its state
  int64_t activations = 0;  // values of microbatches in flight, the most at a time; fetched parameters among them
  int64_t buffers = 0;      // the module's frozen parameters and buffers
  int64_t windows = 0;      // what is on its way to other devices: numbers, buckets, exchanges

  int64_t total() const { return weights + gradients + optimizer + activations + buffers + windows; }
  friend bool operator==(const Memory&, const Memory&) = default;
};

}  // namespace shoal
