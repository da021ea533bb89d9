// What the members of a group share in the job's memory: it is there from the first member that comes to the
// last that leaves, and nobody else looks at it.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>

#include "comm/shm/memory.h"

namespace shoal::comm {

/// All zero at the start.
struct GroupState {
  std::atomic<uint32_t> arrived;                 // at the present barrier
  alignas(64) std::atomic<uint64_t> generation;  // barriers completed
  struct Member {                                // each written by that member alone
    alignas(64) std::atomic<uint64_t> barriers;  // entered so far
    alignas(64) std::atomic<uint64_t> posts;     // signals so far
    struct Offer {
      std::atomic<uint64_t> offset, bytes, slot;
    } offers[2];  // its part of the window that is being made, and of the one before
  } members[kMaxRanks];  // only as many are there as the group has
};

/// One member's hold on it. Owns the mapping.
class GroupHold {
 public:
  /// `id` is not 0, the same for all members, and never again that of another group. Never waits but for ranks
  /// that do the same at this moment. Throws JobError when too many groups are alive, or the job has failed.
  GroupHold(std::shared_ptr<SharedMemory>, uint64_t id, int rank, size_t members);
  ~GroupHold();
  GroupHold(const GroupHold&) = delete;
  GroupHold& operator=(const GroupHold&) = delete;

  GroupState& operator*() const { return *reinterpret_cast<GroupState*>(mapping_.data()); }
  GroupState* operator->() const { return &**this; }

 private:
  std::shared_ptr<SharedMemory> memory_;
  size_t slot_;
  Mapping mapping_;
};

}  // namespace shoal::comm
