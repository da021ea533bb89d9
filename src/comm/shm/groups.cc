#include "comm/shm/groups.h"

#include <fcntl.h>
#include <sched.h>

#include <algorithm>

#include "base/text.h"
#include "shoal/error.h"

namespace shoal::comm {
namespace {

constexpr size_t state_bytes(size_t members) {
  return sizeof(GroupState) - (kMaxRanks - members) * sizeof(GroupState::Member);
}
constexpr uint64_t kStride = (sizeof(GroupState) + 4095) / 4096 * 4096;
static_assert(kGroupsOffset + kStride * kMaxGroups <= kHeapStride);

uint64_t offset_of(size_t slot) { return kGroupsOffset + slot * kStride; }

// Held for some microseconds, at the making and dropping of groups only. A rank that is killed meanwhile leaves
// it locked, which ends every rank's hope: then the job has failed.
class Lock {
 public:
  explicit Lock(const SharedMemory& memory) : lock_(memory.board().groups_lock) {
    for (uint32_t open = 0; !lock_.compare_exchange_weak(open, 1); open = 0) {
      if (memory.failed_rank()) return;
      sched_yield();
    }
    locked_ = true;
  }
  ~Lock() {
    if (locked_) lock_.store(0);
  }
  bool locked() const { return locked_; }

 private:
  std::atomic<uint32_t>& lock_;
  bool locked_ = false;
};

size_t join(const SharedMemory& memory, uint64_t id, int rank, size_t members) {
  const Lock lock(memory);
  if (!lock.locked()) throw JobError(memory.failure());
  const std::span groups(memory.board().groups);
  auto found = std::ranges::find(groups, id, &Board::Group::id);
  if (found == groups.end()) {
    found = std::ranges::find(groups, uint64_t{0}, &Board::Group::id);
    if (found == groups.end())
      throw JobError(cat("rank ", rank, " - group: got ", kMaxGroups,
                         " alive already, want fewer; drop those no longer used"));
    *found = {id, members};
  }
  return static_cast<size_t>(found - groups.begin());
}

}  // namespace

GroupHold::GroupHold(std::shared_ptr<SharedMemory> memory, uint64_t id, int rank, size_t members)
    : memory_(std::move(memory)),
      slot_(join(*memory_, id, rank, members)),
      mapping_(memory_->descriptor(), offset_of(slot_), state_bytes(members), true) {}

GroupHold::~GroupHold() {
  mapping_ = Mapping();
  const Lock lock(*memory_);
  Board::Group& group = memory_->board().groups[slot_];
  if (!lock.locked() || --group.holders > 0) return;
  // Freed pages read as zeros when the place is used again.
  fallocate(memory_->descriptor(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
            static_cast<off_t>(offset_of(slot_)), static_cast<off_t>(kStride));
  group.id = 0;
}

}  // namespace shoal::comm
