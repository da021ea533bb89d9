// Runs the Programs of all devices without numbers, each as far as it can go, and finds what does not fit: of
// which microbatch, step or sum each thing would be (symbolic_device.h), and what surely happens before what
// (happens_before.h). Frames and their values are in symbolic_run.cc, sums and weights in symbolic_sums.cc.
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "lower/happens_before.h"
#include "lower/symbolic_device.h"

namespace shoal::lower {

/// REQUIRES: every operand exists, and the members of each group make the same collective calls
/// (program_check.cc). The Programs are kept by reference.
class SymbolicRun {
 public:
  explicit SymbolicRun(const std::vector<Program>& programs);
  /// Two steps: what the next one would spoil is found, too. Throws as program_check does.
  void run();

 private:
  [[noreturn]] static void fail(const SymbolicDevice& device, const std::string& what);
  SymbolicDevice& at(int rank) { return devices_[static_cast<size_t>(rank)]; }

  // --- A step ---
  void begin_step(SymbolicDevice& device);
  void run_step();
  void end_step(SymbolicDevice& device, bool trains);
  void check_all_computed();

  // --- Time ---
  using Event = HappensBefore::Event;
  static constexpr int kLosses = 0, kSquares = 1;

  void write(SymbolicDevice& device, Buffer::Kind kind, int number, int part);
  void read(SymbolicDevice& device, int from, Buffer::Kind kind, int number, int part);
  static int group_of(const SymbolicDevice& device, const Instruction& i) {
    return device.groups[static_cast<size_t>(i.group)];
  }
  // One for both ends, in their pipeline.
  int transfer_of(const SymbolicDevice& device, const TransferOperands& transfer) const {
    const Layout& layout = device.program->layout;
    return (transfer.number * static_cast<int>(layout.dp) + device.role.dp) * static_cast<int>(layout.tp) + device.role.tp;
  }
  const std::vector<int>& members(const SymbolicDevice& device, const Instruction& i) const;
  // Every collective begins so: all members have come.
  bool meet(SymbolicDevice& device, const Instruction& i, int64_t microbatch = -1);
  Event meeting(const SymbolicDevice& device, const Instruction& i) const;

  // --- Instructions; false: it waits ---
  bool execute(SymbolicDevice& device);
  SymbolicFrame& loaded_frame(SymbolicDevice& device, const Instruction& i);
  void take(SymbolicDevice& device, SymbolicFrame& frame, graph::ValueId id);
  void make(SymbolicDevice& device, SymbolicFrame& frame, graph::ValueId id);
  void once(SymbolicDevice& device, SymbolicFrame& frame, std::set<int>& done, const Instruction& i);
  bool load(SymbolicDevice& device, const Instruction& i);
  bool run_segment(SymbolicDevice& device, const Instruction& i);
  // The parts of an accumulator are those that one rank sums.
  std::vector<int> parts(const SymbolicDevice& device) const { return device.program->peers; }

  void store(SymbolicDevice& device, const Instruction& i, int contribution, int64_t microbatch);
  bool fetch(SymbolicDevice& device, const Instruction& i);
  bool exchange(SymbolicDevice& device, const Instruction& i);
  bool send(SymbolicDevice& device, const Instruction& i);
  bool receive(SymbolicDevice& device, const Instruction& i);
  bool free_frame(SymbolicDevice& device, const Instruction& i);
  static std::set<int> contributions_of_block(const SymbolicDevice& device, int block);
  bool add(SymbolicDevice& device, const Instruction& i);
  bool begin(SymbolicDevice& device, const Instruction& i);
  bool sum_bucket(SymbolicDevice& device, const Instruction& i);
  void use_partial(SymbolicDevice& device, const PartialSum& term, int part);
  bool sum_shard(SymbolicDevice& device, const Instruction& i);
  void check_partial(SymbolicDevice& device, SymbolicDevice& other, const PartialSum& term, int part);
  std::vector<int> ranks_of(const SymbolicDevice& device, int dp);
  // The sum has an accumulator's memory, where it lies in one.
  void write_sum(SymbolicDevice& device, int part);
  bool all_reduce(SymbolicDevice& device, const Instruction& i);
  static bool replicates(const SymbolicDevice& device);
  // Whether weights that others update are copied at the end of a step.
  static bool gathers_weights(const SymbolicDevice& device);
  // Whether a device keeps the weights that `rank` owns.
  static bool keeps(const SymbolicDevice& device, int rank);
  bool all_gather(SymbolicDevice& device, const Instruction& i);
  bool update(SymbolicDevice& device);
  bool replay(SymbolicDevice& device, const Instruction& i);

  const std::vector<Program>& programs_;
  std::vector<SymbolicDevice> devices_;
  HappensBefore order_;
  bool observes_ = false;  // some segment does
};

/// Throws JobError that marks the instruction; one past the last is the end.
[[noreturn]] void fail_check(const Program&, size_t instruction, const std::string& what);

}  // namespace shoal::lower
