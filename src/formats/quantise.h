// fp32 as elements of other types: the other way of dequantise.h.
#pragma once

#include <cstddef>

#include "formats/model_file.h"

namespace shoal::formats {

/// Whether quantise_row can make this type: F32, F16, BF16 and Q8_0.
bool can_quantise_to(WeightType);

/// Rounded to nearest even; Q8_0 as ggml's quantize_row_q8_0_ref. False, and `out` unspecified, where the
/// type cannot hold a number: one that is finite would become infinite. REQUIRES: can_quantise_to(type),
/// whole blocks.
[[nodiscard]] bool quantise_row(WeightType type, const float* x, int64_t count, std::byte* out);

}  // namespace shoal::formats
