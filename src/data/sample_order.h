// In which order samples are read: a function of (seed, sample index) alone, so that every device knows it
// without a table.
#pragma once

#include <cstdint>

namespace shoal::data {

/// Sample i, counted from 0 over the whole run, is window (*this)(i). Each epoch of num_windows samples is a
/// permutation of its own, so it takes every window exactly once. A Feistel network over the smallest domain
/// of 4^k >= num_windows numbers, its rounds keyed by Philox; what falls outside is put through again until
/// it falls inside (cycle walking: fewer than 4 times on average). Black and Rogaway, "Ciphers with arbitrary
/// finite domains", 2002.
class SampleOrder {
 public:
  /// REQUIRES: num_windows >= 1.
  SampleOrder(uint64_t seed, int64_t num_windows);

  int64_t num_windows() const { return num_windows_; }
  int64_t operator()(int64_t sample) const;

 private:
  uint64_t seed_;
  int64_t num_windows_;
  int half_bits_;
};

}  // namespace shoal::data
