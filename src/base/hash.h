// Content hashes (XXH3, 128 bits). They find accidents and differences, not attackers.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

namespace shoal {

/// 32 hexadecimal digits of the 128-bit XXH3 of the bytes.
std::string hash_hex(std::span<const std::byte> bytes);
std::string hash_hex(const std::string& text);

}  // namespace shoal
