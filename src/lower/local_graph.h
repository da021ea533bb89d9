// What one device of a tensor-parallel group does of a divided graph: the nodes of its parts and the whole
// ones, and an exchange before each operator that needs parts of its peers.
//
// Device r of tp has the parts [r C/tp, (r+1) C/tp). Whole values are computed by every device alike. Partial
// sums leave a device as the roots of the tree over [0, C) that it can compute alone (comm/reduce.h): as they
// are when tp = C, in fp32 when it holds several parts.
#pragma once

#include <string>
#include <vector>

#include "base/blocks.h"
#include "graph/graph.h"
#include "lower/stages.h"

namespace shoal::lower {

/// Values that the devices of a group show each other at one moment. All devices make the same exchanges in
/// the same order.
struct Exchange {
  struct Shown {
    int64_t offset;  // bytes, in the half of the window that is in turn (Exchanger)
    graph::TensorType type;
  };
  std::vector<std::vector<Shown>> shown;  // by device of the group
};

/// Values that go from one stage to another once for each microbatch (stage_graph.h).
struct Transfer {
  int number = 0;      // among those of the whole pipeline: the same on both sides
  bool sends = false;  // else it receives
  int peer = 0;        // the other's place on the pp axis
  Stages::Place made_in;  // the pass that sends it
  std::vector<graph::ValueId> values;
  int64_t bytes = 0;   // that they take, each after how it lies in memory
  static constexpr int64_t kHeadBytes = 128;
  /// For a value that lies so: as much as its elements take, and as they reach from the first to the last.
  static int64_t room_for(at::IntArrayRef shape, at::IntArrayRef strides, c10::ScalarType);
};

/// A pass of a stage: what a turn of the schedule runs.
struct StageBlock {
  int stage = 0;
  Stages::Work work = Stages::Work::kForward;
  Range nodes;
};

struct LocalGraph {
  int64_t tp = 1;
  int rank = 0;        // in the group
  graph::Graph graph;  // nodes `shoal::exchange` refer to `exchanges` by number
  std::vector<Exchange> exchanges;
  int64_t half_bytes = 0;  // the largest exchange
  int64_t bytes_read = 0;  // of peers' memory, in one run of the graph
  std::vector<size_t> origins;        // by node: the one of the divided graph that it comes from; until fetches come
  std::vector<Transfer> transfers;    // of this device; nodes `shoal::send` and `shoal::receive` refer to them
  std::vector<StageBlock> blocks;     // of a pipeline, in order; empty: the graph is one
};

bool is_exchange(const graph::Node&);

/// REQUIRES: tp divides graph.num_parts, 0 <= rank < tp. `blocks`: by node; those of unlike blocks share no exchange.
LocalGraph local_graph(const graph::Graph& divided, int64_t tp, int rank, const std::vector<int>& blocks = {});

/// A device's window for exchanges has two halves of this size, used in turn: for `bytes` at a time, or for what
/// comes in pieces of it.
inline constexpr int64_t kLeastExchangeBytes = 4096;
constexpr int64_t exchange_half_bytes(int64_t bytes) { return align_up(std::max(bytes, kLeastExchangeBytes)); }

/// The parts of device `rank`.
Range parts_of(int64_t num_parts, int64_t tp, int rank);

}  // namespace shoal::lower
