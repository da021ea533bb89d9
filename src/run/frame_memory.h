// The memory of frames: places planned once for all that happens in a run, and how much of it values take.
#pragma once

#include <ATen/core/TensorBody.h>

#include <cstdint>
#include <optional>
#include <unordered_map>

#include "run/arena.h"

namespace shoal::run {

/// A run is a microbatch where there is one at a time, or all of a Program where several frames share this: then they
/// have room for what is there at one moment, not each for a whole pass. Belongs to one thread.
class FrameMemory {
 public:
  /// The device outlives it.
  explicit FrameMemory(kernels::Device& device) : arena_(device) {}

  /// One run. REQUIRES: frames are empty at its begin and end.
  void begin();
  /// `is_whole`: nothing failed, so that what was measured counts.
  void end(bool is_whole);

  /// Allocations go here while it lives.
  Arena::Scope scope(const Arena::Placement& placement) { return {arena_, placement}; }
  Arena& arena() { return arena_; }

  // --- Of each value that a frame has; what it has from elsewhere takes nothing here ---
  void add(const at::Tensor&);
  void add_foreign(const at::Tensor&);
  void remove(const at::Tensor&);
  /// The most bytes that values had at a time, as measured in the first whole run; 0 before. What kernels need for
  /// themselves meanwhile is not among them.
  int64_t peak_bytes() const { return peak_bytes_; }

 private:
  struct Storage {
    int values = 0;
    int64_t bytes = 0;
  };
  Storage& storage_of(const at::Tensor&);

  Arena arena_;
  bool measures_ = false;
  std::unordered_map<const void*, Storage> storages_;
  int64_t now_ = 0, most_ = 0, peak_bytes_ = 0;
};

}  // namespace shoal::run
