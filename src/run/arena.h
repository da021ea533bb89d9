// Memory of a step, planned once: a run makes the same sequence of allocations every time, so the sequence is
// recorded, packed into one region with fixed, 64-byte-aligned places, and replayed. No malloc, no page
// faults, a known peak.
//
// While an Arena::Scope lives, the CPU allocations of LibTorch on its thread go to the arena. The first run
// goes to the usual allocator (LibTorch's libraries fill caches then), the second is recorded, later ones are
// replayed. A run that differs from the record finishes with the usual allocator and is recorded anew; after
// three such runs, or where the system has no memory for the region, the arena stays out of the way.
#pragma once

#include <c10/core/Allocator.h>

#include <functional>
#include <unordered_map>
#include <vector>

namespace shoal::run {

class Arena {
 public:
  Arena();
  ~Arena();
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;

  /// Gives the address where an output is to lie, or null to leave the choice to the arena.
  using Placement = std::function<void*(int output)>;

  /// One run. REQUIRES: every tensor made inside, except outputs, is gone when it ends (those that are not
  /// stay valid: they get memory of their own).
  class Scope {
   public:
    Scope(Arena& arena, const Placement& placement);
    ~Scope();

   private:
    Arena* outer_;
  };
  /// Inside a Scope: allocations go to the usual allocator again.
  class Pause {
   public:
    Pause();
    ~Pause();

   private:
    Arena* paused_;
  };

  /// Tells that the memory at `data` is `output`, `bytes` long: in later runs it lies where the placement
  /// says.
  void mark_output(const void* data, size_t bytes, int output);

  /// Size of the region; 0 until the first replayed run.
  size_t bytes() const { return region_bytes_; }

  // For the installed allocator only.
  c10::DataPtr allocate(size_t bytes);
  bool release(void* data);  // true: it is ours, there is nothing to free

 private:
  enum class Mode { kWarmUp, kRecord, kReplay, kOff };
  struct Entry {
    size_t bytes;
    int64_t born, died;  // in events of the run; died -1: outlives it
    int output = -1;
    int64_t offset = -1;  // in the region; -1: memory of its own
  };

  void begin(const Placement& placement);
  void end();
  bool plan() noexcept;     // false: there is no memory for it
  int64_t place_entries();  // the bytes that they take

  Mode mode_ = Mode::kWarmUp;
  std::vector<Entry> entries_;
  std::unordered_map<const void*, size_t> live_;  // recorded and not yet freed -> entry
  std::vector<const void*> placed_;               // outputs of this run that lie where the placement said
  size_t cursor_ = 0;
  int64_t events_ = 0;
  bool diverged_ = false;
  int divergences_ = 0;
  const Placement* placement_ = nullptr;
  std::byte* region_ = nullptr;
  size_t region_bytes_ = 0;
};

}  // namespace shoal::run
