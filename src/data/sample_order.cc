#include "data/sample_order.h"

#include <bit>

#include "base/random.h"

namespace shoal::data {

namespace {
constexpr uint64_t kOrderStream = 0x6f72646572;  // "order"
constexpr int kRounds = 8;
}  // namespace

SampleOrder::SampleOrder(uint64_t seed, int64_t num_windows)
    : seed_(seed),
      num_windows_(num_windows),
      half_bits_((std::bit_width(static_cast<uint64_t>(num_windows - 1)) + 1) / 2) {}

int64_t SampleOrder::operator()(int64_t sample) const {
  const uint64_t key = random_bits(seed_, kOrderStream, static_cast<uint64_t>(sample / num_windows_));
  const uint64_t mask = (uint64_t{1} << half_bits_) - 1;
  uint64_t x = static_cast<uint64_t>(sample % num_windows_);
  do {
    uint64_t left = x >> half_bits_, right = x & mask;
    for (uint64_t round = 0; round < kRounds; ++round) {
      const uint64_t next = left ^ (random_bits(key, round, right) & mask);
      left = right;
      right = next;
    }
    x = left << half_bits_ | right;
  } while (x >= static_cast<uint64_t>(num_windows_));
  return static_cast<int64_t>(x);
}

}  // namespace shoal::data
