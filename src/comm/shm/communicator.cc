#include "comm/shm/communicator.h"

#include <sched.h>

#include <algorithm>
#include <chrono>
#include <exception>
#include <utility>
#include <vector>

#include "base/text.h"
#include "comm/shm/heap.h"
#include "shoal/error.h"

namespace shoal::comm {
namespace {

// Spinning only makes sense while the rank that is waited for can run.
bool enough_cores(int ranks) {
  cpu_set_t cores;
  return sched_getaffinity(0, sizeof cores, &cores) == 0 && CPU_COUNT(&cores) >= ranks;
}

void pause_briefly() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#endif
}

// How long to spin before sleeping: more while that pays, hardly at all while it does not (the rank that is
// waited for works, or others use its core). A sleeping rank takes some 35 us to wake up.
class Spinner {
 public:
  explicit Spinner(bool enabled) : enabled_(enabled) {}

  /// Whether `done` came true meanwhile.
  template <class Done>
  bool spin(Done done) {
    if (!enabled_) return false;
    const auto until = std::chrono::steady_clock::now() + budget_;
    do {
      for (int i = 0; i < 8; ++i, pause_briefly())
        if (done()) return budget_ = std::min(budget_ * 2, kMost), true;
    } while (std::chrono::steady_clock::now() < until);
    budget_ = std::max(budget_ / 2, kLeast);
    return false;
  }

 private:
  static constexpr std::chrono::nanoseconds kLeast{1'000}, kMost{50'000};
  const bool enabled_;
  std::chrono::nanoseconds budget_ = kMost;
};

int64_t now_nanoseconds() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

class ShmCommunicator : public Communicator {
 public:
  ShmCommunicator(std::shared_ptr<SharedMemory> memory, int rank)
      : memory_(std::move(memory)),
        rank_(rank),
        me_(memory_->state(rank)),
        heap_(memory_, rank),
        inbox_(memory_->ranks()),
        spinner_(enough_cores(memory_->ranks())) {}
  ~ShmCommunicator() override {
    // Others must not read a rank that fails as one that ended well.
    if (std::uncaught_exceptions() > 0) memory_->fail(rank_, "an exception ended it");
    memory_->leave(rank_);
  }

  int rank() const override { return rank_; }
  int size() const override { return memory_->ranks(); }

  void barrier() override {
    check_failure();
    Board& board = memory_->board();
    const uint64_t mine = ++barriers_;
    me_.barriers.store(mine);
    if (board.arrived.fetch_add(1) + 1 == static_cast<uint32_t>(size())) {
      board.arrived.store(0);
      board.generation.store(mine);
      memory_->wake_all();
      return;
    }
    wait(WaitKind::kBarrier, -1, [&] { return board.generation.load() >= mine; });
  }

  std::shared_ptr<Window> window(size_t bytes) override {
    // Two offers in turn: before a rank writes one again, every rank has passed the barrier of the window
    // between, so has read it.
    const size_t turn = windows_++ % 2;
    const Block block = heap_.allocate(bytes);
    RankState::Offer& offer = me_.offers[turn];
    offer.offset.store(block.offset), offer.bytes.store(block.bytes), offer.slot.store(block.slot);
    barrier();
    std::vector<Block> blocks;
    for (int rank = 0; rank < size(); ++rank) {
      const RankState::Offer& theirs = memory_->state(rank).offers[turn];
      blocks.push_back({theirs.offset.load(), theirs.bytes.load(), theirs.slot.load()});
    }
    return std::make_shared<ShmWindow>(memory_, rank_, std::move(blocks));
  }

  void send(int to, std::span<const std::byte> bytes) override {
    check_peer(*this, "send", to);
    check_failure();
    const uint64_t size = bytes.size();
    push(to, std::as_bytes(std::span(&size, 1)));
    push(to, bytes);
  }

  void recv(int from, std::span<std::byte> bytes) override {
    check_peer(*this, "recv", from);
    check_failure();
    uint64_t size = 0;
    pull(from, std::as_writable_bytes(std::span(&size, 1)));
    if (size != bytes.size()) {
      memory_->fail(rank_, cat("recv from rank ", from, ": got ", size, " bytes, want ", bytes.size()));
      check_failure();
    }
    pull(from, bytes);
  }

  uint64_t post(int channel) override {
    check_channel(*this, channel);
    check_failure();
    std::atomic<uint64_t>& posted = me_.signals[channel];
    const uint64_t count = posted.load(std::memory_order_relaxed) + 1;
    posted.store(count);
    // A rank that is not yet asleep, or not for this, looks at the count again once it is.
    for (int rank = 0; rank < size(); ++rank)
      if (const RankState& peer = memory_->state(rank);
          peer.asleep.load() != 0 && peer.waits.load() == WaitKind::kSignal && peer.waits_for.load() == rank_)
        memory_->wake(rank);
    return count;
  }

  void await(int rank, int channel, uint64_t count) override {
    check_channel(*this, channel);
    check_await(*this, rank, me_.signals[channel].load(), count);
    check_failure();
    const std::atomic<uint64_t>& posted = memory_->state(rank).signals[channel];
    const auto reached = [&] { return posted.load() >= count; };
    if (!reached()) wait(WaitKind::kSignal, rank, reached);
  }

  void abort(std::string_view reason) noexcept override { memory_->fail(rank_, reason); }
  void set_activity(std::string_view activity) noexcept override { me_.activity.set(activity); }
  std::string activity() const override { return me_.activity.get(); }

  std::string waiting() const override {
    const WaitKind kind = me_.waits.load();
    std::vector<Peer> peers;
    for (const int rank : waited_for(kind)) peers.push_back({rank, memory_->state(rank).activity.get()});
    return describe_wait(kind, static_cast<double>(now_nanoseconds() - me_.waits_since.load()) * 1e-9, peers);
  }

 private:
  // Bytes of one sender that were taken out of its ring before anybody asked for them.
  struct Inbox {
    std::vector<std::byte> bytes;
    size_t taken = 0;

    size_t read(std::span<std::byte> into) {
      const size_t count = std::min(into.size(), bytes.size() - taken);
      std::copy_n(bytes.data() + taken, count, into.data());
      taken += count;
      if (taken == bytes.size()) bytes.clear(), taken = 0;
      return count;
    }
  };

  void check_failure() const {
    if (memory_->failed_rank()) throw JobError(memory_->failure());
  }

  std::vector<int> waited_for(WaitKind kind) const {
    if (kind == WaitKind::kNone) return {};
    if (kind != WaitKind::kBarrier) return {me_.waits_for.load()};
    const uint64_t mine = me_.barriers.load();
    std::vector<int> late;
    for (int rank = 0; rank < size(); ++rank)
      if (memory_->state(rank).barriers.load() < mine) late.push_back(rank);
    return late;
  }

  // Every wait of every kind: a short spin, then sleep until woken; looks for failures and for ranks that
  // ended.
  template <class Done>
  void wait(WaitKind kind, int peer, Done done) {
    if (spinner_.spin(done)) return;
    me_.waits_for.store(peer), me_.waits_since.store(now_nanoseconds()), me_.waits.store(kind);
    me_.asleep.store(1);
    for (;;) {
      const uint32_t bell = me_.bell.load();
      check_failure();
      const int ended = ended_rank(kind);  // before done(): what it did last counts
      if (done()) break;
      if (ended >= 0) memory_->fail(rank_, ended_before(kind, ended, memory_->state(ended).activity.get()));
      check_failure();
      memory_->sleep(rank_, bell);
    }
    me_.asleep.store(0);
    me_.waits.store(WaitKind::kNone);
  }

  int ended_rank(WaitKind kind) const {
    for (const int rank : waited_for(kind))
      if (memory_->state(rank).left.load() != 0) return rank;
    return -1;
  }

  void push(int to, std::span<const std::byte> bytes) {
    Ring& ring = memory_->ring(rank_, to);
    while (!bytes.empty()) {
      if (const size_t written = ring.write(bytes); written > 0) {
        memory_->wake(to);
        bytes = bytes.subspan(written);
      } else if (!take_in()) {
        wait(WaitKind::kSend, to, [&] { return ring.room() > 0 || anything_sent(); });
      }
    }
  }

  void pull(int from, std::span<std::byte> bytes) {
    Ring& ring = memory_->ring(from, rank_);
    bytes = bytes.subspan(inbox_[from].read(bytes));
    while (!bytes.empty()) {
      if (const size_t count = ring.read(bytes); count > 0) {
        memory_->wake(from);
        bytes = bytes.subspan(count);
      } else {
        wait(WaitKind::kRecv, from, [&] { return ring.filled() > 0; });
      }
    }
  }

  bool anything_sent() const {
    for (int from = 0; from < size(); ++from)
      if (memory_->ring(from, rank_).filled() > 0) return true;
    return false;
  }

  // A sender that must wait empties the rings to it, so that two that send to each other both get on.
  bool take_in() {
    bool any = false;
    for (int from = 0; from < size(); ++from) {
      Ring& ring = memory_->ring(from, rank_);
      const size_t count = ring.filled();
      if (count == 0) continue;
      std::vector<std::byte>& bytes = inbox_[from].bytes;
      const size_t before = bytes.size();
      bytes.resize(before + count);
      ring.read(std::span(bytes).subspan(before));
      memory_->wake(from);
      any = true;
    }
    return any;
  }

  const std::shared_ptr<SharedMemory> memory_;
  const int rank_;
  RankState& me_;
  Heap heap_;
  std::vector<Inbox> inbox_;  // by sender
  Spinner spinner_;
  uint64_t barriers_ = 0;
  size_t windows_ = 0;
};

}  // namespace

std::unique_ptr<Communicator> shm_communicator(std::shared_ptr<SharedMemory> memory, int rank) {
  if (memory->state(rank).attached.exchange(1) != 0)
    throw JobError(cat("rank ", rank,
                       " - communicator: got asked twice, want once per rank; a child process cannot take "
                       "its parent's rank"));
  return std::make_unique<ShmCommunicator>(std::move(memory), rank);
}

}  // namespace shoal::comm
