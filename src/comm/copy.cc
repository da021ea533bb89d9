#include "comm/copy.h"

#include <cstdint>
#include <cstring>

#if defined(__x86_64__)
#include <emmintrin.h>
#endif

namespace shoal::comm {

void copy_bytes(std::byte* to, const std::byte* from, size_t bytes) {
  if (bytes == 0) return;
#if defined(__x86_64__)
  constexpr size_t kLarge = size_t{4} << 20, kLine = 64;
  if (bytes >= kLarge) {
    const size_t head = -reinterpret_cast<uintptr_t>(to) % kLine;
    std::memcpy(to, from, head);
    to += head, from += head, bytes -= head;
    for (; bytes >= kLine; to += kLine, from += kLine, bytes -= kLine)
      for (size_t i = 0; i < kLine; i += sizeof(__m128i))
        _mm_stream_si128(reinterpret_cast<__m128i*>(to + i),
                         _mm_loadu_si128(reinterpret_cast<const __m128i*>(from + i)));
    _mm_sfence();
  }
#endif
  std::memcpy(to, from, bytes);
}

}  // namespace shoal::comm
