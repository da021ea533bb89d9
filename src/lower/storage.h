// What is kept of a model between steps, in units that no layout changes: the parts of its trained
// parameters. Knows sizes, not tensors; who holds what is in lower/ownership.h.
//
// A unit is a whole parameter, or one of the C parts of a divided one (docs/numerics.md, "storage"). It is
// flat, in the order of its own shape, and cut in blocks of kBlockElements. Blocks are numbered through all
// units in order (parameter, part, block): the tree of the gradient's norm is over these numbers.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/blocks.h"
#include "comm/reduce.h"
#include "graph/graph.h"

namespace shoal::lower {

struct Unit {
  std::string parameter;
  int part = graph::kWhole;                // of Storage::num_parts; kWhole: the whole parameter
  std::vector<int64_t> shape;              // its own
  comm::DType dtype = comm::DType::kF32;   // what forward reads
  std::vector<comm::DType> contributions;  // to its gradient, as their kernels leave them
  int64_t numel = 0;
  int64_t first_block = 0;
};

/// Consecutive elements of one unit: whole blocks, but for the unit's end.
struct Shard {
  size_t unit;
  Range elements;
  friend bool operator==(const Shard&, const Shard&) = default;
};

struct Storage {
  std::vector<Unit> units;  // of parameters with a gradient, in the module's order, parts in order
  int64_t num_blocks = 0;
  int64_t num_parts = 1;
  std::map<std::string, graph::Cut> cuts;  // of the divided parameters
  std::map<std::string, size_t> first;     // of each parameter's units, which lie together

  /// The index of a unit; nothing when there is none.
  std::optional<size_t> find(const std::string& parameter, int part) const;
  /// The units of `parameter` in order of their parts; empty when it is not trained.
  std::vector<size_t> units_of(const std::string& parameter) const;
  /// The shape of the undivided parameter that `unit` belongs to.
  std::vector<int64_t> global_shape(const Unit& unit) const;
};

/// From the inputs and gradients of a graph, divided or not. Throws InputError for a parameter dtype other
/// than fp32 and bf16.
Storage plan_storage(const graph::Graph&);

/// Where a graph's gradients go: for each contribution, in the order of graph::outputs, its unit and which of
/// the unit's contributions it is. `graph` may have a part of the storage's units only.
struct Contribution {
  size_t unit, index;
  friend bool operator==(const Contribution&, const Contribution&) = default;
};
std::vector<Contribution> contributions_of(const graph::Graph&, const Storage&);

/// One line per unit: name, shape, dtype, blocks, contributions.
std::string print(const Storage&);

}  // namespace shoal::lower
