// Where every parameter, gradient and piece of optimizer state lies, and who owns it. Knows sizes, not
// tensors.
//
// All parameters lie one after the other, each aligned; each is cut in blocks of kBlockElements
// (docs/numerics.md, "storage"). A device owns a run of whole blocks: it sums their gradients, keeps their
// master weights and optimizer state, and updates them.
#pragma once

#include <string>
#include <vector>

#include "base/blocks.h"
#include "comm/reduce.h"
#include "graph/graph.h"

namespace shoal::lower {

/// A parameter that is trained.
struct StoredParameter {
  std::string name;
  std::vector<int64_t> shape;
  int64_t numel = 0;
  comm::DType dtype = comm::DType::kF32;  // what forward reads
  int64_t weight_offset = 0;              // bytes, in the weight window
  struct Contribution {
    comm::DType dtype;
    int64_t offset;  // bytes, in a gradient slot
  };
  std::vector<Contribution> contributions;
  int64_t first_block = 0;
};

/// Consecutive elements of one parameter: whole blocks, but for the parameter's end.
struct Piece {
  size_t parameter;
  Range elements;
};

struct Storage {
  std::vector<StoredParameter> parameters;  // those with a gradient, in the module's order
  int64_t num_blocks = 0;
  int64_t weight_bytes = 0;  // of the weight window
  int64_t slot_bytes = 0;    // of one gradient slot; every contribution has room for fp32

  /// The blocks of device `rank` of `size`: shares of the elements, cut at blocks.
  std::vector<Piece> owned(int size, int rank) const;
};

/// From the graph's gradients. Throws InputError for a parameter dtype other than fp32 and bf16.
Storage plan_storage(const graph::Graph&);

/// One line per parameter: name, shape, dtype, bytes, contributions.
std::string print(const Storage&);

}  // namespace shoal::lower
