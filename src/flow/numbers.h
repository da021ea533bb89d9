// One number of a column as one of a sample's.
#pragma once

#include <arrow/array.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "data/sample_manifest.h"

namespace shoal::flow {

/// Whether columns of this type hold numbers that put_number() takes: whole ones, fractions, true and false.
bool holds_numbers(const arrow::DataType&);
/// The type that holds them all; of unsigned ones with more than 8 bits I64.
data::SampleType type_of_numbers(const arrow::DataType&);

/// Appends the number as `type` has it: fractions rounded to nearest (to F16 and BF16 by way of F32). False,
/// and nothing is appended, where it has no such number: beyond its range, or a fraction among whole ones.
/// REQUIRES: holds_numbers, not null.
bool put_number(const arrow::Array&, int64_t row, data::SampleType type, std::vector<std::byte>& to);

}  // namespace shoal::flow
