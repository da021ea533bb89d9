// Memory of activations; the dispatch of what stands in code.h.
#include "infer/kernels/code.h"
#include "infer/kernels/packed.h"

namespace shoal::infer {

using formats::WeightType;

Activations::Activations() : impl_(std::make_unique<Impl>()) {}
Activations::~Activations() = default;

void Activations::set(WeightType weights, const float* x, int64_t rows, int64_t columns, int64_t stride) {
  ActivationRows& v = impl_->view;
  impl_->type = weights;
  v = ActivationRows{.rows = rows, .columns = columns};
  size_t bytes = 0;
  const auto place = [&](int64_t count, size_t each) {  // -> offset, a multiple of 64
    const size_t at = bytes;
    bytes += static_cast<size_t>(round_up(count * static_cast<int64_t>(each), 64));
    return at;
  };
  if (!is_quantised(weights)) {
    v.padded = round_up(columns, kChains);
    v.blocks = v.padded / kChains;
    place(rows * v.padded, sizeof(float));
    impl_->memory.reserve(bytes);
    v.values = reinterpret_cast<float*>(impl_->memory.data());
  } else {
    const bool super = weights == WeightType::kQ4_K || weights == WeightType::kQ6_K;
    v.blocks = columns / (super ? 256 : 32);
    const size_t quants = place(rows * columns, 1), scales = place(rows * v.blocks, sizeof(float));
    const size_t sums = place(weights == WeightType::kQ4_1 ? rows * v.blocks : 0, sizeof(float));
    const bool offset = weights == WeightType::kQ4_0 || weights == WeightType::kQ8_0;
    const size_t offsets = place(offset ? rows * columns / 4 : 0, sizeof(int32_t));
    const size_t block_sums = place(super ? rows * v.blocks * 16 : 0, sizeof(int16_t));
    impl_->memory.reserve(bytes);
    std::byte* const base = impl_->memory.data();
    v.quants = reinterpret_cast<int8_t*>(base + quants);
    v.scales = reinterpret_cast<float*>(base + scales);
    if (weights == WeightType::kQ4_1) v.sums = reinterpret_cast<float*>(base + sums);
    if (offset) v.offsets = reinterpret_cast<int32_t*>(base + offsets);
    if (super) v.block_sums = reinterpret_cast<int16_t*>(base + block_sums);
  }
  code().activations(weights, x, stride, v);
}

void matmul(const PackedMatrix& w, const Activations& x, float* y, int64_t stride) {
  code().matmul(w.impl(), x.impl().view, y, stride);
}

}  // namespace shoal::infer
