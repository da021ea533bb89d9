// Elements of any type as fp32.
#pragma once

#include "formats/model_file.h"

namespace shoal::formats {

/// The row of a table as fp32: a token's embedding. As ggml's dequantize_row_*, which multiply and add
/// without fusing. Throws InputError where the table has no such row.
void dequantise_row(const Weight& table, int64_t row, float* out);

}  // namespace shoal::formats
