// Weights on their way into another file: joined, turned, their rows in another order, and of another type.
#pragma once

#include <cstddef>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "formats/model_file.h"

namespace shoal::formats {

/// A tensor of the file to be written.
struct ConvertedTensor {
  std::string name;
  std::vector<std::string> parts;  // our names of the weights whose rows follow each other in it
  WeightType type = WeightType::kF32;
  int64_t rows = 0, columns = 0;  // of the joined matrix, before it is turned
  bool is_vector = false;
  bool transposed = false;
  /// Of each part, row (of a vector element) i is this row of the source; empty: in order.
  std::vector<int64_t> order;
  std::vector<float> made;  // where it is not in the source: its elements

  Weight shape() const { return {type, transposed ? columns : rows, transposed ? rows : columns, nullptr}; }
};

/// Where rows of queries and keys go so that the rotation pairs elements as the target wants it: pairs (2i,
/// 2i+1) become (i, i + n/2) of the first `rope_width` = n elements of each head, or the other way round. The
/// row of the source by the row of the target.
std::vector<int64_t> rotation_order(int64_t heads, int64_t head_width, int64_t rope_width, bool to_halves);

/// Gives the bytes of the tensor to `write`, piece by piece. Throws InputError where its type cannot hold a
/// number of the source.
void write_converted(const ModelFile& source, const ConvertedTensor&,
                     const std::function<void(std::span<const std::byte>)>& write);

}  // namespace shoal::formats
