#include "comm/shm/waiting.h"

#include <sched.h>

#include "shoal/error.h"

namespace shoal::comm {
namespace {

// Spinning only makes sense while the rank that is waited for can run.
bool enough_cores(int ranks) {
  cpu_set_t cores;
  return sched_getaffinity(0, sizeof cores, &cores) == 0 && CPU_COUNT(&cores) >= ranks;
}

int64_t now_nanoseconds() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

}  // namespace

Waiter::Waiter(std::shared_ptr<SharedMemory> memory, int rank)
    : memory_(std::move(memory)),
      rank_(rank),
      me_(memory_->state(rank)),
      spinner_(enough_cores(memory_->ranks())) {}

void Waiter::check_failure() const {
  if (memory_->failed_rank()) throw JobError(memory_->failure());
}

void Waiter::fall_asleep(WaitKind kind, int peer, const Barrier* barrier) {
  {
    const std::lock_guard lock(mutex_);
    barrier_ = barrier;
    me_.waits_for.store(peer), me_.waits_since.store(now_nanoseconds()), me_.waits.store(kind);
  }
  me_.asleep.store(1);
}

void Waiter::wake_up() {
  me_.asleep.store(0);
  const std::lock_guard lock(mutex_);
  me_.waits.store(WaitKind::kNone);
  barrier_ = nullptr;
}

std::vector<int> Waiter::waited_for() const {
  if (me_.waits.load() == WaitKind::kNone) return {};
  return barrier_ ? barrier_->late() : std::vector<int>{me_.waits_for.load()};
}

int Waiter::ended_rank() const {
  for (const int rank : waited_for())
    if (memory_->state(rank).left.load() != 0) return rank;
  return -1;
}

std::string Waiter::waiting() const {
  const std::lock_guard lock(mutex_);
  const WaitKind kind = me_.waits.load();
  std::vector<Peer> peers;
  for (const int rank : waited_for()) peers.push_back({rank, memory_->state(rank).activity.get()});
  return describe_wait(kind, static_cast<double>(now_nanoseconds() - me_.waits_since.load()) * 1e-9, peers);
}

}  // namespace shoal::comm
