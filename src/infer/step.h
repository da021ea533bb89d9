// One step of a replica: rows of tokens of several sequences, as its devices see them, and the shared memory
// that carries them there and their results back.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

namespace shoal::infer {

/// Rows of one sequence: [first_row, first_row + rows) of the step; its last stands at position length - 1;
/// its pages begin at `first_page` of StepData::pages.
struct SequenceRows {
  int32_t first_row = 0, rows = 0, length = 0, first_page = 0;
};

/// What devices are told. Rows are sorted by sequence, then by position.
struct StepData {
  std::vector<int32_t> tokens, positions;  // by row
  std::vector<int64_t> places;             // by row: page * kPageTokens + token in page
  std::vector<SequenceRows> sequences;
  std::vector<int32_t> pages;
  std::vector<int32_t> results;  // rows whose logits are wanted, then rows whose states are
  int64_t num_logits = 0;        // of `results`
};

/// The same, in place in shared memory.
struct StepView {
  std::span<const int32_t> tokens, positions;
  std::span<const int64_t> places;
  std::span<const SequenceRows> sequences;
  std::span<const int32_t> pages, results;
  int64_t num_logits = 0;
};
StepView view(const StepData&);

/// What a replica can take in one step; the engine and its devices agree on it.
struct StepLimits {
  int64_t rows = 0, sequences = 0, pages = 0;  // pages: of all sequences of a step together
  int64_t logits = 0;                          // rows
  int64_t vocabulary = 0, width = 0;
};

/// A file without a name that the engine and a replica's devices share: `slots` steps under way at a time.
/// Threads: a slot belongs to the engine, or to the devices that were told of it.
class StepMemory {
 public:
  /// Makes it. Throws JobError where there is no memory.
  StepMemory(const StepLimits&, int64_t slots);
  /// Takes over an inherited descriptor.
  StepMemory(const StepLimits&, int64_t slots, int descriptor);
  ~StepMemory();
  StepMemory(const StepMemory&) = delete;
  StepMemory& operator=(const StepMemory&) = delete;

  int descriptor() const { return descriptor_; }
  /// REQUIRES: it fits the limits.
  void write(int64_t slot, const StepData&);
  StepView read(int64_t slot) const;
  float* logits(int64_t slot) const;  // [logits, vocabulary]
  float* states(int64_t slot) const;  // [rows, width]

 private:
  void map();
  size_t data_bytes() const;
  size_t slot_bytes() const;

  StepLimits limits_;
  int64_t slots_;
  int descriptor_;
  std::byte* memory_ = nullptr;
};

}  // namespace shoal::infer
