// Texts of a few words are copied and compared without a call.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

namespace shoal::flow {

/// What stands at `from`, as a number.
template <class Word>
Word word_at(const char* from) {
  Word word;
  std::memcpy(&word, from, sizeof word);
  return word;
}

/// Copies `size` bytes; returns the end of the copy.
inline char* short_copy(char* to, const char* from, size_t size) {
  constexpr size_t kLong = sizeof(uint64_t), kWord = sizeof(uint32_t), kMost = 64;
  if (size > kMost) {
    std::memcpy(to, from, size);
  } else if (size >= kLong) {
    for (size_t at = 0; at + kLong < size; at += kLong) std::memcpy(to + at, from + at, kLong);
    std::memcpy(to + size - kLong, from + size - kLong, kLong);  // may cover the one before
  } else if (size >= kWord) {
    const auto first = word_at<uint32_t>(from), last = word_at<uint32_t>(from + size - kWord);
    std::memcpy(to, &first, kWord);
    std::memcpy(to + size - kWord, &last, kWord);
  } else if (size > 0) {
    to[0] = from[0];
    to[size / 2] = from[size / 2];
    to[size - 1] = from[size - 1];
  }
  return to + size;
}

/// Whether the two have the same `size` bytes.
inline bool short_equal(const char* a, const char* b, size_t size) {
  constexpr size_t kLong = sizeof(uint64_t), kWord = sizeof(uint32_t);
  if (size >= kLong) {
    for (size_t at = 0; at + kLong < size; at += kLong)
      if (word_at<uint64_t>(a + at) != word_at<uint64_t>(b + at)) return false;
    return word_at<uint64_t>(a + size - kLong) == word_at<uint64_t>(b + size - kLong);
  }
  if (size >= kWord)
    return word_at<uint32_t>(a) == word_at<uint32_t>(b) &&
           word_at<uint32_t>(a + size - kWord) == word_at<uint32_t>(b + size - kWord);
  return size == 0 || (a[0] == b[0] && a[size / 2] == b[size / 2] && a[size - 1] == b[size - 1]);
}

}  // namespace shoal::flow
