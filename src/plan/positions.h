// Operators with an argument that says where their part begins: the first class of a range
// (run/vocabulary_kernels.cc).
#pragma once

#include <string>

#include "ops/divide.h"

namespace shoal::plan {

struct Position {
  const char* op;
  size_t argument;  // grows by the size of `dim` of a part for each part before
  ops::Port tensor;
  int dim;
};
inline constexpr Position kPositions[] = {
    {"shoal::embedding_rows", 2, {false, 0}, 0},
    {"shoal::embedding_rows_backward", 4, {true, 0}, 0},
    {"shoal::cross_entropy_sums", 4, {false, 0}, 1},
    {"shoal::cross_entropy_backward", 7, {false, 1}, 1},
};

/// The operator's row, when `division` cuts that dim; else null.
inline const Position* position_of(const std::string& op, const ops::Division& division) {
  for (const Position& position : kPositions) {
    if (op != position.op) continue;
    const auto& list = position.tensor.output ? division.outputs : division.inputs;
    const ops::Placement& placement = list.at(static_cast<size_t>(position.tensor.index));
    if (placement.kind == ops::Placement::Kind::kShard && placement.cut.dim == position.dim) return &position;
  }
  return nullptr;
}

}  // namespace shoal::plan
