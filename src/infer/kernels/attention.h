// Keys and values of a layer as they lie in memory, and what is common to the code that goes over them.
//
// A page is kPageTokens tokens of all kv heads: first the keys, then the values, each [kv_heads, head_width
// filled up to a multiple of 32, kPageTokens]: a register holds one element of 16 tokens, so no lane is ever
// added to its neighbour over keys, and values meet the weights of 16 tokens at once.
#pragma once

#include <cstddef>
#include <cstdint>

#include "infer/kernels/kernels.h"
#include "infer/kernels/memory.h"
#include "infer/kernels/packed.h"

namespace shoal::infer {

struct CacheView {
  CacheType type = CacheType::kF32;
  int64_t kv_heads = 0, head_width = 0;
  int64_t padded = 0;      // head_width, to a multiple of 32
  int64_t page_bytes = 0;  // keys and values
  std::byte* data = nullptr;
  int64_t element_bytes() const { return type == CacheType::kF16 ? 2 : 4; }
  const std::byte* keys(int64_t page, int64_t head) const {
    return data + page * page_bytes + head * padded * kPageTokens * element_bytes();
  }
  const std::byte* values(int64_t page, int64_t head) const { return keys(page, head) + page_bytes / 2; }
};

struct LayerCache::Impl {
  CacheView view;
  Memory memory;
};

void attention_scalar(const CacheView&, const AttentionRows*, int64_t sequences, const float* queries,
                      int64_t query_stride, int64_t heads, int64_t window, float* out, int64_t out_stride);

/// The keys that a row sees: [begin, end), and the 32 that go together: [first block, last block).
struct Seen {
  int64_t begin, end;
};
inline Seen seen_by(const AttentionRows& s, int64_t row, int64_t window) {
  const int64_t end = s.length - s.rows + row + 1;
  return {window > 0 && end > window ? end - window : 0, end};
}

}  // namespace shoal::infer
