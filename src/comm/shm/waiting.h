// How a rank waits, and what the others may see of it meanwhile.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "comm/shm/memory.h"

namespace shoal::comm {

/// How long to spin before sleeping: more while that pays, hardly at all while it does not (the rank that is
/// waited for works, or others use its core). A sleeping rank takes some 35 us to wake up.
class Spinner {
 public:
  explicit Spinner(bool enabled) : enabled_(enabled) {}

  /// Whether `done` came true meanwhile.
  template <class Done>
  bool spin(Done done) {
    if (!enabled_) return false;
    const auto until = std::chrono::steady_clock::now() + budget_;
    do {
      for (int i = 0; i < 8; ++i, pause())
        if (done()) return budget_ = std::min(budget_ * 2, kMost), true;
    } while (std::chrono::steady_clock::now() < until);
    budget_ = std::max(budget_ / 2, kLeast);
    return false;
  }

 private:
  static void pause() {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#endif
  }

  static constexpr std::chrono::nanoseconds kLeast{1'000}, kMost{50'000};
  const bool enabled_;
  std::chrono::nanoseconds budget_ = kMost;
};

/// A barrier, as far as waiting for it goes.
class Barrier {
 public:
  virtual ~Barrier() = default;
  /// The ranks that have not come to the present one. From any thread while its rank waits in it.
  virtual std::vector<int> late() const = 0;
};

/// Belongs to its rank's thread, but for waiting().
class Waiter {
 public:
  Waiter(std::shared_ptr<SharedMemory>, int rank);

  SharedMemory& memory() const { return *memory_; }
  const std::shared_ptr<SharedMemory>& shared_memory() const { return memory_; }
  int rank() const { return rank_; }
  /// Throws JobError once the job has failed.
  void check_failure() const;

  /// Every wait of every kind: a short spin, then sleep until woken; looks for failures and for ranks that
  /// ended. `peer`: the rank that is waited for; in a barrier, none but those late.
  template <class Done>
  void wait_for(WaitKind kind, int peer, Done done) {
    wait(kind, peer, nullptr, done);
  }
  template <class Done>
  void wait_in(const Barrier& barrier, Done done) {
    wait(WaitKind::kBarrier, -1, &barrier, done);
  }

  /// Communicator::waiting.
  std::string waiting() const;

 private:
  template <class Done>
  void wait(WaitKind kind, int peer, const Barrier* barrier, Done done) {
    if (spinner_.spin(done)) return;
    fall_asleep(kind, peer, barrier);
    try {
      for (;;) {
        const uint32_t bell = me_.bell.load();
        const int ended = ended_rank();  // before done(): what it did last counts
        if (done()) break;               // what is complete stands, whatever a peer did since
        check_failure();
        if (ended >= 0) memory_->fail(rank_, ended_before(kind, ended, memory_->state(ended).activity.get()));
        check_failure();
        memory_->sleep(rank_, bell);
      }
    } catch (...) {
      wake_up();
      throw;
    }
    wake_up();
  }

  void fall_asleep(WaitKind, int peer, const Barrier*);
  void wake_up();
  int ended_rank() const;
  std::vector<int> waited_for() const;

  const std::shared_ptr<SharedMemory> memory_;
  const int rank_;
  RankState& me_;
  Spinner spinner_;
  mutable std::mutex mutex_;          // guards barrier_ against waiting(); a rank that spins does not take it
  const Barrier* barrier_ = nullptr;  // that this rank sleeps in
};

}  // namespace shoal::comm
