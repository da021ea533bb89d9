// Counter-based random numbers: Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3",
// SC 2011). A number is a pure function of (key, counter): any device can draw any element, in any order.
#pragma once

#include <array>
#include <cstdint>

namespace shoal {

/// Four independent 32-bit numbers for one 128-bit counter.
constexpr std::array<uint32_t, 4> philox(uint64_t key, uint64_t counter_high, uint64_t counter_low) {
  std::array<uint32_t, 4> c = {static_cast<uint32_t>(counter_low), static_cast<uint32_t>(counter_low >> 32),
                               static_cast<uint32_t>(counter_high),
                               static_cast<uint32_t>(counter_high >> 32)};
  uint32_t k0 = static_cast<uint32_t>(key), k1 = static_cast<uint32_t>(key >> 32);
  for (int round = 0; round < 10; ++round) {
    const uint64_t p0 = uint64_t{0xD2511F53u} * c[0];
    const uint64_t p1 = uint64_t{0xCD9E8D57u} * c[2];
    c = {static_cast<uint32_t>(p1 >> 32) ^ c[1] ^ k0, static_cast<uint32_t>(p1),
         static_cast<uint32_t>(p0 >> 32) ^ c[3] ^ k1, static_cast<uint32_t>(p0)};
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  return c;
}

/// One 64-bit number for (key, stream, index); different streams are independent.
constexpr uint64_t random_bits(uint64_t key, uint64_t stream, uint64_t index) {
  const auto words = philox(key, stream, index);
  return (uint64_t{words[1]} << 32) | words[0];
}

/// Uniform in [0, 1) with 53 bits.
constexpr double random_unit(uint64_t key, uint64_t stream, uint64_t index) {
  return static_cast<double>(random_bits(key, stream, index) >> 11) * 0x1p-53;
}

}  // namespace shoal
