// Texts of a few words are copied without a call.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

namespace shoal::flow {

/// Copies `size` bytes; returns the end of the copy.
inline char* short_copy(char* to, const char* from, size_t size) {
  constexpr size_t kWord = sizeof(uint64_t), kShort = 64;
  if (size < kWord || size > kShort) {
    if (size > 0) std::memcpy(to, from, size);
    return to + size;
  }
  for (size_t at = 0; at + kWord < size; at += kWord) std::memcpy(to + at, from + at, kWord);
  std::memcpy(to + size - kWord, from + size - kWord, kWord);  // may cover the one before
  return to + size;
}

}  // namespace shoal::flow
