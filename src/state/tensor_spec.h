// What a checkpoint says of a tensor: its name, role, type, and how it is divided
// (docs/checkpoint_format.md).
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/blocks.h"

namespace shoal::state {

/// One of `parts` equal parts of a tensor: dim `dim`, seen as [outer, parts, rest], of which this part takes
/// index `part` in the middle (graph::Cut). A part is stored flat, in the C order of its own shape.
struct Division {
  int64_t part = 0;
  int64_t parts = 2;  // at least 2: what is not divided has no Division
  int64_t dim = 0;
  int64_t outer = 1;
  friend bool operator==(const Division&, const Division&) = default;
};

/// A tensor of the run's state, or one part of a divided one, whoever holds it. (name, role, part) is unique
/// in a checkpoint, and all parts of a tensor are there.
struct TensorSpec {
  std::string name;
  std::string role;            // weight | exp_avg | exp_avg_sq | momentum | buffer | ...
  std::string dtype;           // safetensors' names: "F32", "BF16", "I64"...
  std::vector<int64_t> shape;  // of the whole tensor, also for a part
  std::optional<Division> division = std::nullopt;
  friend bool operator==(const TensorSpec&, const TensorSpec&) = default;
};

/// Of the part, where it is one.
std::vector<int64_t> local_shape(const TensorSpec&);
int64_t num_elements(const TensorSpec&);
int64_t num_bytes(const TensorSpec&);
/// The whole tensor that this is a part of; itself where it is none.
TensorSpec whole_of(const TensorSpec&);
/// The whole tensors that these are, or are parts of, each once, by their first part.
std::vector<TensorSpec> whole_tensors(std::span<const TensorSpec>);

/// "wte.weight (exp_avg)" or "up.weight (exp_avg, part 0 of 2)", as messages call it.
std::string title(const TensorSpec&);
/// "F32 [4096, 512]" or "F32 [4096, 512] in 2 parts of dim 0, outer 3"; an outer of 1 is left out.
std::string type_text(const TensorSpec&);
/// The name of these elements in a safetensors file: "up.weight@exp_avg[0of2][65536:131072]".
std::string entry_key(const TensorSpec&, Range elements);

/// What makes these tensors impossible to save or to believe ("tensor w (weight): ..."), or nothing.
std::optional<std::string> find_flaw(std::span<const TensorSpec>);

/// Calls visit(first element in the whole tensor, first element in the part, count) for each run of the
/// part's elements `elements` that is contiguous in the whole tensor, in order. Cut in C order, a divided
/// tensor is runs of equal length, dealt to its parts in turn.
template <class Visit>
void for_each_run(const TensorSpec& spec, Range elements, const Visit& visit) {
  if (!spec.division) {
    if (!elements.empty()) visit(elements.begin, elements.begin, elements.size());
    return;
  }
  const Division& division = *spec.division;
  int64_t run = spec.shape[static_cast<size_t>(division.dim)] / (division.outer * division.parts);
  for (size_t dim = static_cast<size_t>(division.dim) + 1; dim < spec.shape.size(); ++dim)
    run *= spec.shape[dim];
  for (int64_t begin = elements.begin; begin < elements.end;) {
    const int64_t number = begin / run, inside = begin % run;
    const int64_t count = std::min(run - inside, elements.end - begin);
    visit((number * division.parts + division.part) * run + inside, begin, count);
    begin += count;
  }
}

}  // namespace shoal::state
