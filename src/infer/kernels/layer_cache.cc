// Keys and values of one layer: where each lies.
#include <cstring>

#include "infer/kernels/attention.h"
#include "infer/kernels/code.h"
#include "infer/kernels/half.h"

namespace shoal::infer {

CacheType cache_type(formats::WeightType type) {
  return type == formats::WeightType::kF32 || type == formats::WeightType::kBF16 ? CacheType::kF32
                                                                                 : CacheType::kF16;
}

size_t LayerCache::page_bytes(CacheType type, int64_t kv_heads, int64_t head_width) {
  return static_cast<size_t>(2 * kv_heads * round_up(head_width, kChains) * kPageTokens *
                             (type == CacheType::kF16 ? 2 : 4));
}

LayerCache::LayerCache(CacheType type, int64_t pages, int64_t kv_heads, int64_t head_width)
    : impl_(std::make_unique<Impl>()) {
  CacheView& v = impl_->view;
  v.type = type;
  v.kv_heads = kv_heads;
  v.head_width = head_width;
  v.padded = round_up(head_width, kChains);
  v.page_bytes = static_cast<int64_t>(page_bytes(type, kv_heads, head_width));
  impl_->memory = Memory(static_cast<size_t>(pages * v.page_bytes));
  v.data = impl_->memory.data();
}
LayerCache::~LayerCache() = default;
LayerCache::LayerCache(LayerCache&&) noexcept = default;

void LayerCache::store(const float* keys, const float* values, int64_t rows, int64_t stride,
                       const int64_t* places) {
  const CacheView& v = impl_->view;
  const int64_t each = v.element_bytes();
  for (int64_t r = 0; r < rows; ++r) {
    const int64_t page = places[r] / kPageTokens, token = places[r] % kPageTokens;
    for (int64_t h = 0; h < v.kv_heads; ++h) {
      std::byte* const key = v.data + (v.keys(page, h) - v.data) + token * each;
      std::byte* const value = key + v.page_bytes / 2;
      for (int64_t i = 0; i < v.head_width; ++i) {
        const float k = keys[r * stride + h * v.head_width + i],
                    x = values[r * stride + h * v.head_width + i];
        const int64_t at = i * kPageTokens * each;
        if (v.type == CacheType::kF16) {
          const uint16_t k_bits = to_half(k), x_bits = to_half(x);
          std::memcpy(key + at, &k_bits, 2);
          std::memcpy(value + at, &x_bits, 2);
        } else {
          std::memcpy(key + at, &k, 4);
          std::memcpy(value + at, &x, 4);
        }
      }
    }
  }
}

void attention(const LayerCache& cache, std::span<const AttentionRows> sequences, const float* queries,
               int64_t query_stride, int64_t heads, int64_t window, float* out, int64_t out_stride) {
  code().attention(cache.impl().view, sequences.data(), static_cast<int64_t>(sequences.size()), queries,
                   query_stride, heads, window, out, out_stride);
}

}  // namespace shoal::infer
