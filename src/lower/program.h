// A Program: all that one device does in a step, or to evaluate one batch. It is data: it prints, parses back
// to the same (program_text.cc), is checked together with those of all other devices (program_check.h), tells
// the memory that it takes (memory.h), and is all that the interpreter knows (run/interpreter.h).
//
// docs/life_of_a_step.md reads one aloud.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "base/blocks.h"
#include "graph/graph.h"
#include "lower/buckets.h"
#include "lower/gradient_schedule.h"
#include "shoal/layout.h"

namespace shoal::lower {

/// Memory that a device has for as long as it runs the Program. Instructions name it: "%a1".
struct Buffer {
  enum class Kind {
    kWeights,      // %w   what forward reads of the trained parameters, as the device's Ownership keeps it
    kMaster,       // %p   fp32 weights of what the device owns, where forward reads another dtype
    kOptimizer,    // %o   the optimizer's state of what the device owns
    kModule,       // %m   the module's frozen parameters and buffers
    kFrame,        // %f0  the values of one microbatch in flight
    kAccumulator,  // %a0  sums of gradients over microbatches: of all that it holds, or of its shard
    kSum,          // %s   the sum over all microbatches, of its shard (with zero = 0 of all that it holds)
    kBucket,       // %b0  a place of the ring of buckets
    kBoard,        // %n   numbers that every device shows: losses, squares of gradients, a wish to stop
    kExchange,     // %x   what the device shows its tensor-parallel peers
    kTransfer,     // %t0  what the device sends to another stage: the slots of transfer 0
  };
  Kind kind;
  int number = 0;
  int64_t bytes = 0;
  bool is_shared = false;  // peers read it
  int inside = -1;         // of kSum: the accumulator whose memory it has; -1: memory of its own
  friend bool operator==(const Buffer&, const Buffer&) = default;
};

/// Ranks that do some instructions together; rank order is the order of members.
struct RankGroup {
  std::string name;  // "world", or the axis of the mesh
  std::vector<int> ranks;
  friend bool operator==(const RankGroup&, const RankGroup&) = default;
};

/// Nodes of the device's graph that run without a word to others, and what they have to do with the rest of
/// the frame: values that earlier segments made or peers sent, and those that later ones or peers read.
struct Segment {
  Range nodes;
  std::vector<std::string> parameters;   // that it reads where the device keeps them
  std::vector<graph::ValueId> reads;     // values of the frame that it did not make; the batch is among them
  std::vector<graph::ValueId> writes;    // that it made and leaves
  std::vector<graph::ValueId> drops;     // that nobody reads after it
  std::vector<int> gradients;            // contributions that go from here into an accumulator
  bool makes_loss = false, observes = false;  // the loss; what updates of buffers read
  int64_t peak_bytes = 0;  // of the values that are there at one moment, those of the frame included
  friend bool operator==(const Segment&, const Segment&) = default;
};

/// Values that the tensor-parallel group shows each other at one moment.
struct ExchangeOperands {
  size_t node = 0;
  std::vector<graph::ValueId> shows, receives;
  std::vector<graph::ValueId> drops;
  int64_t bytes = 0;  // in the window of this device
  friend bool operator==(const ExchangeOperands&, const ExchangeOperands&) = default;
};

/// A parameter that other devices keep (zero = 3), copied into the frame for as long as its readers last.
struct FetchOperands {
  size_t node = 0;
  int unit = 0;
  graph::ValueId value = graph::kNoValue;
  friend bool operator==(const FetchOperands&, const FetchOperands&) = default;
};

/// Values that go to another stage, or come from one, once for each microbatch. They lie in the sender's memory, in
/// `slots` places in turn, for as long as the receiver's frame has the microbatch.
struct TransferOperands {
  size_t node = 0;
  int number = 0;       // among those of all devices of the pipeline
  bool sends = false;
  int peer = 0;         // rank
  std::vector<graph::ValueId> values;
  std::vector<graph::ValueId> drops;  // that nobody reads after it
  int64_t bytes = 0;    // of a slot
  int slots = 1;
  friend bool operator==(const TransferOperands&, const TransferOperands&) = default;
};

/// The segments of a pass of a stage; a Program without a pipeline has none of these.
struct BlockOperands {
  int stage = 0;
  std::vector<int> segments;
  int64_t held_bytes = 0;  // that the frame has after it
  friend bool operator==(const BlockOperands&, const BlockOperands&) = default;
};

/// What stands in the fields that a kind does not have stays at its default.
struct Instruction {
  enum class Kind {
    kLoad,           // the batch of `microbatch` into `frame`
    kRun,            // segment `index` on `frame`; its gradients are stored in `accumulator` (in fp32 when
                     // `widens`), or added to it when `adds`
    kFetch,          // fetch `index` into `frame`
    kExchange,       // exchange `index` of `frame`
    kSend,           // the values of transfer `index` from `frame` into its next slot, which has been let go
    kReceive,        // the values of transfer `index` into `frame`, where they lie
    kFree,           // `frame` holds nothing more; what it received is let go
    kAdd,            // accumulator += from; with an `index`, what the segments of that block gave
    kBegin,          // the gradients of bucket `index` from `frame` into the ring; no frame: this device has
                     // no microbatch in the `round`
    kReduceScatter,  // with an `index`: what kBegin began; each of the `sums`, of the bucket's blocks that are in
                     // this device's shard. Without: of the whole shard into %s, the contributions of each
                     // parameter added, and the squares of each block
    kAllReduce,      // losses, squares and wishes to stop of all devices
    kAllGather,      // what others own of `gathered`, %s or %w
    kUpdate,         // the optimizer: %s into %w, of what the device owns
    kReplay,         // buffers that forward changes: the updates of all microbatches in order
    kBarrier,
  };
  Kind kind = Kind::kRun;
  int group = -1;  // of RankGroups; -1: it concerns no other device
  int frame = -1;
  int index = -1;
  int64_t microbatch = -1;
  int accumulator = -1, from = -1;
  bool adds = false, widens = false;
  Range round = {};
  std::vector<Sum> sums;
  Buffer::Kind gathered = Buffer::Kind::kWeights;
  friend bool operator==(const Instruction&, const Instruction&) = default;
};

struct Program {
  std::string name;  // "training", "evaluation"
  int rank = 0;
  Layout layout;
  int64_t num_microbatches = 1;
  std::vector<int> dealt;  // by microbatch: the dp coordinate that computes it
  std::vector<int> peers;  // whose shards are of parameters that this device computes with or sums
  std::vector<int> stages = {0};  // pp coordinates whose gradients are in this device's sums
  int pp_of_loss = 0;
  std::vector<RankGroup> groups;
  std::vector<Buffer> buffers;
  std::map<graph::ValueId, graph::TensorType> values;  // those that leave or enter segments
  std::vector<Segment> segments;
  std::vector<ExchangeOperands> exchanges;
  std::vector<FetchOperands> fetches;
  std::vector<TransferOperands> transfers;
  std::vector<BlockOperands> blocks;
  std::vector<Bucket> buckets;
  std::vector<Instruction> instructions;

  /// The microbatches of this rank, in order; none for a server.
  std::vector<int64_t> microbatches() const;
  /// The rank whose board tells this rank the loss of `microbatch`.
  int rank_of_loss(int64_t microbatch) const;
  const Buffer* find(Buffer::Kind, int number = 0) const;
  friend bool operator==(const Program&, const Program&) = default;
};

// --- program_text.cc, parse_program.cc; the grammar is in docs/program.md ---
std::string print(const Program&);
std::string print(const Instruction&, const Program&);
/// Throws InputError: "program line 7 - ...: got X, want Y".
Program parse_program(const std::string& text);

}  // namespace shoal::lower
