// A Program: what one device does in one step. Data; it prints and is checked before it runs.
//
// Who computes which microbatch: each dp coordinate takes share(M, dp, d) of them and keeps the sums of its
// own; with zero >= 2 they are dealt in rounds, round k being microbatches [k dp, (k+1) dp), and each
// gradient goes to its owners as soon as backward has made it.
#pragma once

#include <string>
#include <vector>

#include "base/blocks.h"
#include "lower/ownership.h"
#include "shoal/layout.h"

namespace shoal::lower {

/// The sum over a subtree of the microbatches: earlier sums of smaller subtrees, then leaves of this round.
struct RoundSum {
  Range microbatches;
  int slot;  // where it goes; the first of `from`, if there are any
  struct Earlier {
    Range microbatches;
    int slot;
    friend bool operator==(const Earlier&, const Earlier&) = default;
  };
  std::vector<Earlier> from;
  friend bool operator==(const RoundSum&, const RoundSum&) = default;
};

struct Instruction {
  enum class Kind {
    kCompute,  // forward and backward of `microbatch`; its gradients go to `slot`: stored, or added when
               // `accumulate`
    kAddSlot,  // slot += from
    kRound,    // forward and backward of `microbatch` (kIdle: none is left for this device); meanwhile each
               // gradient of the round's microbatches is summed by its owners, into slots of owned blocks
    kReduceScatter,  // each rank sums the roots of all devices for its share of the blocks (after rounds they
                     // are summed), and their squares
    kAllReduceNorm,  // the global gradient norm from all blocks' sums of squares
    kAllGatherGradients,  // zero = 0: the others' sums, so that each device updates all that it holds
    kUpdate,              // the optimizer, on the owned blocks
    kAllGather,           // the others' new weights: copied now, or, with zero = 3, on use
  };
  Kind kind;
  int64_t microbatch = -1;
  int slot = -1;
  bool accumulate = false;
  bool widen = false;  // store in fp32, since more will be added
  int from = -1;
  Range round = {};            // kRound: its microbatches
  std::vector<RoundSum> sums;  // kRound
  friend bool operator==(const Instruction&, const Instruction&) = default;
};

inline constexpr int64_t kIdle = -1;

/// The sum over a subtree of the microbatches, and where the devices that have it (one for each tensor-
/// parallel coordinate) keep it.
struct SlotRoot {
  Range microbatches;
  int dp;
  int slot;
  bool in_fp32;  // else as the kernels left it
};

struct Program {
  int rank = 0;
  Layout layout;
  int64_t num_microbatches = 1;
  int num_slots = 0;  // of whole gradients; after rounds, of owned blocks
  std::vector<Instruction> instructions;
  std::vector<SlotRoot> roots;  // of all dp coordinates, in order: they cover [0, M) once; none with rounds
  std::vector<int> dealt;       // by microbatch: the dp coordinate that computes it

  /// The microbatches of this rank, in order; none for a server.
  std::vector<int64_t> microbatches() const;
  /// The rank whose board tells this rank the loss of `microbatch`.
  int teller(int64_t microbatch) const;
};

/// Throws InputError when layout.dp > M.
Program lower_step(int64_t num_microbatches, const Layout&, int rank);

/// Each microbatch is computed once (by each tensor-parallel coordinate), sums follow the tree, no slot is
/// read before it is written or overwritten before it is read, and the programs of all devices agree on the
/// collectives, the rounds and the roots. Throws JobError naming the rank and instruction.
void program_check(const std::vector<Program>& programs);

std::string print(const Program&);

}  // namespace shoal::lower
