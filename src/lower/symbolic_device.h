// What a device would have at a moment of a symbolic run: of which microbatch, step or sum each thing is.
#pragma once

#include <deque>
#include <map>
#include <set>
#include <utility>
#include <vector>

#include "lower/program.h"
#include "mesh/role.h"

namespace shoal::lower {

// What an accumulator has of one contribution, or of one bucket.
struct Partial {
  Range microbatches;
  bool in_fp32 = false;
  bool is_used = false;  // by the sum over all microbatches
};

struct SymbolicFrame {
  int64_t microbatch = -1;
  std::set<graph::ValueId> values;
  std::set<int> segments, exchanges, fetches, buckets, transfers;
  std::vector<std::pair<Instruction::Kind, int>> order;  // in which they came
};

struct BegunBucket {
  int bucket;
  Range round;
  int64_t microbatch;  // whose gradients it has; -1: this device gave none
};

// Of a transfer, since the start.
struct SymbolicMessages {
  int64_t count = 0, released = 0;
  std::deque<int64_t> held;  // microbatches whose values are there
};

struct SymbolicDevice {
  const Program* program = nullptr;
  int rank = 0;
  mesh::Role role;
  size_t next = 0;       // instruction
  int step = 0;          // how many it has done
  bool entered = false;  // the collective that is next: it has said that it came
  std::map<int, SymbolicFrame> frames;
  std::map<int, std::vector<std::pair<Instruction::Kind, int>>> orders;  // by frame: of its first microbatch
  std::map<int, std::map<int, Partial>> accumulators;
  std::set<int64_t> losses, loaded, observed;
  bool has_sum = false, has_squares = false, has_norm = false, is_updated = false, is_replayed = false;
  bool sum_is_gathered = false, weights_are_gathered = false;
  std::map<int, int> weights;  // by the rank that owns them: of which step they are
  std::vector<BegunBucket> begun;  // since the start
  int64_t num_summed = 0;          // of them
  std::vector<int> groups;       // by the Program's: the same for all members
  std::map<int, int64_t> calls;  // by group: collectives so far
  int exchanges = 0;
  std::set<graph::ValueId> received;
  std::vector<SymbolicMessages> messages;  // by transfer
  std::set<int> contributions;    // to gradients, that its segments give to accumulators
  std::set<graph::ValueId> made;  // values that instructions make; a batch tensor is there as long as its frame
};

}  // namespace shoal::lower
