// A Program: what one device does in one step. Data; it prints and is checked before it runs.
#pragma once

#include <string>
#include <vector>

#include "base/blocks.h"

namespace shoal::lower {

struct Instruction {
  enum class Kind {
    kCompute,  // forward and backward of `microbatch`; its gradients go to `slot`: stored, or added when
               // `accumulate`
    kAddSlot,  // slot += from
    kReduceScatter,  // each owner sums the roots of all devices for its blocks, and their squares
    kAllReduceNorm,  // the global gradient norm from all blocks' sums of squares
    kUpdate,         // the optimizer, on the owned blocks
    kAllGather,      // the others' new weights
  };
  Kind kind;
  int64_t microbatch = -1;
  int slot = -1;
  bool accumulate = false;
  bool widen = false;  // store in fp32, since more will be added
  int from = -1;
  friend bool operator==(const Instruction&, const Instruction&) = default;
};

/// The sum over a subtree of the microbatches, and where the device that has it keeps it.
struct SlotRoot {
  Range microbatches;
  int rank;
  int slot;
  bool is_leaf() const { return microbatches.size() == 1; }
};

struct Program {
  int rank = 0, size = 1;
  int64_t num_microbatches = 1;
  int num_slots = 0;
  std::vector<Instruction> instructions;
  std::vector<SlotRoot> roots;  // of all devices, in order: they cover [0, num_microbatches) once
};

/// The step of data parallelism: each device takes share(M, size, rank) of the microbatches. Throws
/// InputError when size > M.
Program lower_data_parallel(int64_t num_microbatches, int size, int rank);

/// Each microbatch is computed once, sums follow the tree, no slot is read before it is written or
/// overwritten before it is read, and the programs of all devices agree on the collectives and the roots.
/// Throws JobError naming the rank and instruction.
void program_check(const std::vector<Program>& programs);

std::string print(const Program&);

}  // namespace shoal::lower
