// The memory of a device, by kind, from its Programs alone: known before anything runs. Who speaks of memory
// (the plan, a refusal, the planner) asks here.
#pragma once

#include <string>

#include "lower/ownership.h"
#include "lower/program.h"

namespace shoal::lower {

/// In bytes.
struct Memory {
  int64_t weights = 0;      // as forward reads them, and masters where these are kept apart
  int64_t gradients = 0;    // accumulators and sums
  int64_t optimizer = 0;    // its state
  int64_t activations = 0;  // values of microbatches in flight, fetched parameters among them
  int64_t buffers = 0;      // the module's frozen parameters and buffers
  int64_t windows = 0;      // what is on its way to others: numbers, buckets, exchanges

  int64_t total() const { return weights + gradients + optimizer + activations + buffers + windows; }
  friend bool operator==(const Memory&, const Memory&) = default;
};

Memory memory_of(const Program&);

/// Before there is a Program: weights, accumulators, masters and the state of the largest optimizer.
int64_t model_bytes(const Ownership&, const GradientSchedule&, int rank);

/// "weights 1.5 MiB, gradients 1.5 MiB, ...: 8.2 MiB".
std::string print(const Memory&);

}  // namespace shoal::lower
