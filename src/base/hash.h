// Content hashes (XXH3, 128 bits). They find accidents and differences, not attackers.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

namespace shoal {

/// 32 hexadecimal digits of the 128-bit XXH3 of the bytes.
std::string hash_hex(std::span<const std::byte> bytes);
std::string hash_hex(const std::string& text);

/// The same of bytes that come in pieces.
class Hasher {
 public:
  Hasher();
  ~Hasher();
  Hasher(const Hasher&) = delete;
  Hasher& operator=(const Hasher&) = delete;
  void add(std::span<const std::byte> bytes);
  std::string hex() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// 64 bits of the same family, for tables in memory.
uint64_t hash_bits(std::string_view bytes);

}  // namespace shoal
