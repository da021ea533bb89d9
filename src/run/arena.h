// Memory of a run (a microbatch, or a whole step of a pipeline), planned once: a run makes the same sequence of
// allocations every time, so the sequence is recorded, packed into one region with fixed, 64-byte-aligned places, and
// replayed. No malloc, no page faults, a known peak.
//
// Between begin() and end(), while an Arena::Scope lives, LibTorch's allocations on the device, of its thread, go
// to the arena; a run may have any number of Scopes, and other arenas' between them. The first run
// goes to the usual allocator (LibTorch's libraries fill caches then), the second is recorded, later ones are
// replayed. A run that differs from the record finishes with the usual allocator and is recorded anew; after
// three such runs, or where the system has no memory for the region, the arena stays out of the way.
#pragma once

#include <functional>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "kernels/device.h"

namespace shoal::run {

class Arena final : public kernels::AllocationHook {
 public:
  /// The device outlives the arena.
  explicit Arena(kernels::Device& device) : device_(device) {}
  ~Arena() override;
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;

  /// Gives the address where an output is to lie, or null to leave the choice to the arena.
  using Placement = std::function<void*(int output)>;

  /// One run. REQUIRES: when it ends, every tensor made inside, except outputs, is gone (those that are not stay
  /// valid: they get memory of their own).
  void begin();
  void end();
  bool is_running() const { return is_running_; }

  /// REQUIRES: within a run; `placement` outlives it.
  class Scope {
   public:
    Scope(Arena& arena, const Placement& placement);
    ~Scope();

   private:
    Arena& arena_;
    AllocationHook* outer_;
  };
  /// Inside a Scope: allocations go to the usual allocator again.
  class Pause {
   public:
    explicit Pause(kernels::Device&);
    ~Pause();

   private:
    kernels::Device& device_;
    AllocationHook* paused_;
  };

  /// Tells that the memory at `data` is `output`, `bytes` long: in later runs it lies where the placement
  /// says.
  void mark_output(const void* data, size_t bytes, int output);

  /// Size of the region; 0 until the first replayed run.
  size_t bytes() const { return region_bytes_; }

  // For the device only.
  c10::DataPtr allocate(size_t bytes) override;
  bool release(void* data) override;

 private:
  enum class Mode { kWarmUp, kRecord, kReplay, kOff };
  struct Entry {
    size_t bytes;
    int64_t born, died;  // in events of the run; died -1: outlives it
    int output = -1;
    int64_t offset = -1;  // in the region; -1: memory of its own
  };

  bool plan() noexcept;     // false: there is no memory for it
  int64_t place_entries();  // the bytes that they take
  int64_t place_by_size();
  int64_t place_by_time();

  void give_region_back() noexcept;

  kernels::Device& device_;
  Mode mode_ = Mode::kWarmUp;
  std::vector<Entry> entries_;
  std::unordered_map<const void*, size_t> live_;  // recorded and not yet freed -> entry
  std::unordered_set<const void*> placed_;        // outputs of this run that lie where the placement said
  size_t cursor_ = 0;
  bool is_running_ = false;
  int64_t events_ = 0;
  bool diverged_ = false;
  int divergences_ = 0;
  const Placement* placement_ = nullptr;
  std::byte* region_ = nullptr;
  size_t region_bytes_ = 0;
};

}  // namespace shoal::run
