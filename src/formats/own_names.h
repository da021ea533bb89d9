// Where src/models keep the weights of ModelFile.
#pragma once

#include <cstdint>
#include <string>

#include "formats/model_file.h"

namespace shoal::formats {

/// A parameter of ours, or of a gpt's queries, keys and values a part of one: blocks.3.qkv has rows (head, q|k|v, dim).
struct OwnPlace {
  std::string name;
  int part = -1;  // 0: queries, 1: keys, 2: values; -1: all of the parameter
  /// Where row (of a bias, element) `row` of the part stands.
  int64_t row(int64_t row, int64_t head_width) const {
    return part < 0 ? row : (row / head_width * 3 + part) * head_width + row % head_width;
  }
};

/// "blk.3.attn_q.weight" -> "blocks.3.q.weight" of a llama. REQUIRES: a weight that a gpt or llama of ours has.
OwnPlace own_place(Architecture, const std::string& name);

}  // namespace shoal::formats
