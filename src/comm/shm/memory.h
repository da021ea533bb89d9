// The shared memory of a job: one anonymous file (memfd) that its processes inherit. It has no name, so
// nothing can be left behind.
//
// The file is sparse. At its start lies the Board, then a Ring for each pair of ranks; from kGroupsOffset on,
// what the members of each group share (groups.h); from kHeapStride * (rank + 1) on, each rank has a heap for
// its windows. Only pages that were written exist.
#pragma once

#include <sys/types.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "comm/failure.h"
#include "comm/launch.h"

namespace shoal::comm {

inline constexpr int kMaxRanks = kMaxDevices;
inline constexpr size_t kMaxWindows = 1024;  // alive at a time, per rank
inline constexpr size_t kMaxGroups = 4096;   // alive at a time, in the job
inline constexpr uint64_t kHeapStride = uint64_t{1} << 40;
inline constexpr uint64_t kGroupsOffset = kHeapStride / 2;

/// Text that one process writes and others may read meanwhile. A reader may see half of an update: for people
/// to read only.
template <size_t kBytes>
class SharedText {
 public:
  void set(std::string_view text) noexcept;
  std::string get() const;

 private:
  static constexpr size_t kWords = kBytes / sizeof(uint64_t);
  std::atomic<uint64_t> words_[kWords];  // the last byte is always 0
};

/// What the others may know of a rank. All zero at the start; written by that rank, and by the launcher once
/// the rank is dead.
struct RankState {
  alignas(64) std::atomic<uint32_t> bell;      // a futex: others bump it to wake the rank
  std::atomic<uint32_t> asleep;                // it has to be woken
  alignas(64) std::atomic<uint32_t> attached;  // a process has taken this rank
  std::atomic<uint32_t> left;                  // it will take part in nothing more
  std::atomic<WaitKind> waits;
  std::atomic<int> waits_for;        // the peer of a send, recv or signal
  std::atomic<int64_t> waits_since;  // nanoseconds of the steady clock
  std::atomic<int> start_error;      // errno of exec
  std::atomic<int> exit_code;        // of report_failure; 0: none
  SharedText<256> activity;
  SharedText<2048> reason;    // why it failed, with its place
  SharedText<2048> sentence;  // of report_failure
  std::atomic<uint32_t>
      holders[kMaxWindows];  // of each of its blocks: 0 free, 1 being freed, else 1 + the ranks that hold it
};

struct Board {
  uint64_t magic;
  int64_t ranks;
  std::atomic<pid_t> launcher;
  alignas(64) std::atomic<int> failed;            // 1 + the rank that failed first
  alignas(64) std::atomic<uint32_t> groups_lock;  // 1: a rank joins or leaves a group
  struct Group {
    uint64_t id;       // 0: none
    uint64_t holders;  // members that have not left, though some may not have come yet
  } groups[kMaxGroups];  // guarded by groups_lock
  RankState states[kMaxRanks];
};

/// A stream of bytes from one rank to another; head and tail count all bytes ever.
struct Ring {
  static constexpr size_t kBytes = 64 * 1024;
  alignas(64) std::atomic<uint64_t> head;  // written
  alignas(64) std::atomic<uint64_t> tail;  // read
  alignas(64) std::byte data[kBytes];

  size_t room() const { return kBytes - (head.load() - tail.load()); }
  size_t filled() const { return head.load() - tail.load(); }
  /// Copy as much as fits, or as there is; return how much.
  size_t write(std::span<const std::byte> bytes);
  size_t read(std::span<std::byte> bytes);
};

/// Pages of the file in this process. Owns the mapping.
class Mapping {
 public:
  Mapping() = default;
  Mapping(int descriptor, uint64_t offset, size_t bytes, bool writable);
  ~Mapping();
  Mapping(Mapping&& other) noexcept;
  Mapping& operator=(Mapping&& other) noexcept;
  std::byte* data() const { return data_; }

 private:
  std::byte* data_ = nullptr;
  size_t bytes_ = 0;
};

/// One process's hold on the job's memory. Threads: all methods may be called from any.
class SharedMemory {
 public:
  /// Makes the memory of a new job. Its descriptor is closed on exec, unless a child clears that.
  static std::shared_ptr<SharedMemory> create(int ranks);
  /// Takes over an inherited descriptor. Throws InputError when it is none of ours, or of another size.
  static std::shared_ptr<SharedMemory> attach(int descriptor, int ranks);
  ~SharedMemory();
  SharedMemory(const SharedMemory&) = delete;
  SharedMemory& operator=(const SharedMemory&) = delete;

  int descriptor() const { return descriptor_; }
  int ranks() const { return ranks_; }
  Board& board() const { return *reinterpret_cast<Board*>(control_.data()); }
  RankState& state(int rank) const { return board().states[rank]; }
  Ring& ring(int from, int to) const;

  /// Wakes `rank` if it sleeps. Call after the change that it may wait for.
  void wake(int rank) const noexcept;
  void wake_all() const noexcept;
  /// Sleeps until somebody wakes `rank`, or 100 ms. `seen` is its bell as read before the condition was
  /// looked at.
  void sleep(int rank, uint32_t seen) const noexcept;

  /// The rank fails the job, unless another was first; wakes all.
  void fail(int rank, std::string_view reason) const noexcept;
  std::optional<int> failed_rank() const noexcept;
  /// "rank 1, step 12: forward - killed by signal 9 (Killed)". REQUIRES: failed_rank().
  std::string failure() const;
  /// The rank takes part in nothing more; wakes all.
  void leave(int rank) const noexcept;

 private:
  SharedMemory(int descriptor, int ranks);

  int descriptor_;
  int ranks_;
  Mapping control_;
};

}  // namespace shoal::comm
