// In which order the gradients of a step's microbatches are summed, and by whom: the same tree for every
// layout (docs/numerics.md, "one tree"), with as few partial sums kept as it takes. Knows numbers of
// microbatches, not tensors.
//
// zero < 2 or servers: a device has consecutive microbatches and sums them as they come, like the digits of a
// binary counter; at the end each block's owner adds the roots of all devices. zero >= 2: microbatches are
// dealt in rounds, round k being [k dp, (k+1) dp), and a round's gradients are summed by their owners while
// backward still runs.
#pragma once

#include <cstdint>
#include <vector>

#include "base/blocks.h"
#include "shoal/layout.h"

namespace shoal::lower {

/// The sum over a subtree of the microbatches that another device, or this one, has made.
struct PartialSum {
  Range microbatches;
  int dp = -1;           // whose; -1: this device's own
  int accumulator = -1;  // there; -1: a bucket that holds the gradients of one microbatch
  bool in_fp32 = true;   // else as the kernels left it
  friend bool operator==(const PartialSum&, const PartialSum&) = default;
};

/// One node of the tree, or several at once: terms, in order, into an accumulator (-1: %s).
struct Sum {
  Range microbatches;
  int accumulator = -1;
  std::vector<PartialSum> terms;
  friend bool operator==(const Sum&, const Sum&) = default;
};

struct GradientSchedule {
  int64_t num_microbatches = 1;
  std::vector<int> dealt;    // by microbatch: the dp coordinate that computes it
  int num_accumulators = 0;  // of this device

  /// Without rounds: the device's own microbatches in order.
  struct Step {
    int64_t microbatch;
    int accumulator;
    bool adds;    // else the gradient is stored
    bool widens;  // stored in fp32, since more will be added
    struct Add {
      int accumulator, from;
    };
    std::vector<Add> then;
  };
  std::vector<Step> steps;
  std::vector<PartialSum> roots;  // of all dp coordinates, in order: they cover the microbatches once

  struct Round {
    Range microbatches;
    std::vector<Sum> sums;
  };
  std::vector<Round> rounds;

  /// The whole sum, from roots or, after rounds, from the one accumulator that is left.
  Sum total() const;
  /// The first of the device's own roots; null when it has none.
  const PartialSum* root_of(int dp) const;
};

/// Throws InputError when layout.dp > num_microbatches.
GradientSchedule schedule_gradients(int64_t num_microbatches, const Layout&, int rank);

/// Whether [a) and [b), next to each other, are the two halves of one node of the tree over [0, n).
bool are_siblings(int64_t n, Range a, Range b);

}  // namespace shoal::lower
