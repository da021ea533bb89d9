// Ranks as threads of one process: for tests, and the world of one. All that is shared lies behind one mutex,
// except the windows' bytes, which barriers order; so the thread sanitizer sees whether code above keeps the
// rule of windows.
#include <chrono>
#include <condition_variable>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <exception>
#include <map>
#include <mutex>
#include <new>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

#include "base/fault.h"
#include "base/text.h"
#include "comm/failure.h"
#include "comm/launch.h"
#include "shoal/error.h"

namespace shoal::comm {
namespace {

using Clock = std::chrono::steady_clock;

class Pages {
 public:
  explicit Pages(size_t bytes) : bytes_(bytes) {
    const size_t whole = (bytes + kPage - 1) / kPage * kPage;
    if (bytes == 0) return;
    data_.reset(static_cast<std::byte*>(std::aligned_alloc(kPage, whole)));
    if (!data_) throw std::bad_alloc();
    std::memset(data_.get(), 0, whole);
  }
  std::span<std::byte> bytes() const { return {data_.get(), bytes_}; }

 private:
  static constexpr size_t kPage = 4096;
  struct Free {
    void operator()(std::byte* data) const { std::free(data); }
  };
  std::unique_ptr<std::byte, Free> data_;
  size_t bytes_;
};

class ThreadWindow : public Window {
 public:
  ThreadWindow(int rank, std::vector<std::shared_ptr<Pages>> parts) : rank_(rank), parts_(std::move(parts)) {}
  std::span<std::byte> mine() override { return parts_[rank_]->bytes(); }
  size_t bytes(int rank) const override { return parts_.at(rank)->bytes().size(); }
  const std::byte* read(int rank, size_t offset, size_t bytes, std::span<std::byte>) override {
    check_read(*this, rank, offset, bytes);
    return parts_[rank]->bytes().data() + offset;
  }
  bool in_place() const override { return true; }

 private:
  int rank_;
  std::vector<std::shared_ptr<Pages>> parts_;
};

struct RankState {
  uint64_t barriers = 0;                           // entered so far
  uint64_t signals[Communicator::kChannels] = {};  // posted so far
  bool left = false;                               // its communicator is gone
  std::string activity;
  WaitKind waits = WaitKind::kNone;
  int waits_for = -1;  // the peer of a send, recv or signal
  Clock::time_point waits_since;
  std::shared_ptr<Pages> offered;                          // its part of the window that is being made
  std::map<int, std::deque<std::vector<std::byte>>> mail;  // by sender
};

struct Failure {
  int rank;
  std::string text;  // for the other ranks
};

struct World {
  explicit World(int size) : ranks(size) {}
  std::mutex mutex;  // guards all below
  std::condition_variable changed;
  std::vector<RankState> ranks;
  int arrived = 0;          // at the present barrier
  uint64_t generation = 0;  // barriers completed
  std::optional<Failure> failure;

  void fail(int rank, std::string_view reason) {
    if (!failure) failure = Failure{rank, failure_text(rank, ranks[rank].activity, reason)};
    changed.notify_all();
  }

  std::vector<int> waited_for(int rank) const {
    const RankState& me = ranks[rank];
    if (me.waits == WaitKind::kNone) return {};
    if (me.waits != WaitKind::kBarrier) return {me.waits_for};
    std::vector<int> late;
    for (size_t r = 0; r < ranks.size(); ++r)
      if (ranks[r].barriers < me.barriers) late.push_back(static_cast<int>(r));
    return late;
  }
};

class ThreadCommunicator : public Communicator {
 public:
  ThreadCommunicator(std::shared_ptr<World> world, int rank)
      : world_(std::move(world)), me_(world_->ranks[rank]), rank_(rank) {}
  ~ThreadCommunicator() override {
    const std::lock_guard lock(world_->mutex);
    me_.left = true;
    world_->changed.notify_all();
  }

  int rank() const override { return rank_; }
  int size() const override { return static_cast<int>(world_->ranks.size()); }

  void barrier() override {
    std::unique_lock lock(world_->mutex);
    check_failure();
    const uint64_t mine = ++me_.barriers;
    if (++world_->arrived == size()) {
      world_->arrived = 0;
      ++world_->generation;
      world_->changed.notify_all();
      return;
    }
    wait(lock, WaitKind::kBarrier, -1, [&] { return world_->generation >= mine; });
  }

  std::shared_ptr<Window> window(size_t bytes) override {
    me_.offered = std::make_shared<Pages>(bytes);
    barrier();
    std::vector<std::shared_ptr<Pages>> parts;
    for (const RankState& rank : world_->ranks) parts.push_back(rank.offered);
    barrier();
    me_.offered.reset();
    return std::make_shared<ThreadWindow>(rank_, std::move(parts));
  }

  void send(int to, std::span<const std::byte> bytes) override {
    check_peer(*this, "send", to);
    const std::lock_guard lock(world_->mutex);
    check_failure();
    world_->ranks[to].mail[rank_].emplace_back(bytes.begin(), bytes.end());
    world_->changed.notify_all();
  }

  void recv(int from, std::span<std::byte> bytes) override {
    check_peer(*this, "recv", from);
    std::unique_lock lock(world_->mutex);
    auto& mail = me_.mail[from];
    wait(lock, WaitKind::kRecv, from, [&] { return !mail.empty(); });
    const std::vector<std::byte> message = std::move(mail.front());
    mail.pop_front();
    if (message.size() != bytes.size()) {
      world_->fail(rank_,
                   cat("recv from rank ", from, ": got ", message.size(), " bytes, want ", bytes.size()));
      check_failure();
    }
    if (!message.empty()) std::memcpy(bytes.data(), message.data(), message.size());
  }

  uint64_t post(int channel) override {
    check_channel(*this, channel);
    const std::lock_guard lock(world_->mutex);
    check_failure();
    world_->changed.notify_all();
    return ++me_.signals[channel];
  }

  void await(int rank, int channel, uint64_t count) override {
    check_channel(*this, channel);
    std::unique_lock lock(world_->mutex);
    check_await(*this, rank, me_.signals[channel], count);
    wait(lock, WaitKind::kSignal, rank, [&] { return world_->ranks[rank].signals[channel] >= count; });
  }

  void abort(std::string_view reason) noexcept override {
    const std::lock_guard lock(world_->mutex);
    world_->fail(rank_, reason);
  }

  void set_activity(std::string_view activity) noexcept override {
    const std::lock_guard lock(world_->mutex);
    me_.activity = activity;
  }
  std::string activity() const override {
    const std::lock_guard lock(world_->mutex);
    return me_.activity;
  }

  std::string waiting() const override {
    const std::lock_guard lock(world_->mutex);
    std::vector<Peer> peers;
    for (const int rank : world_->waited_for(rank_)) peers.push_back({rank, world_->ranks[rank].activity});
    return describe_wait(me_.waits, std::chrono::duration<double>(Clock::now() - me_.waits_since).count(),
                         peers);
  }

 private:
  void check_failure() const {
    if (world_->failure) throw JobError(world_->failure->text);
  }

  template <class Done>
  void wait(std::unique_lock<std::mutex>& lock, WaitKind kind, int peer, Done done) {
    me_.waits = kind, me_.waits_for = peer, me_.waits_since = Clock::now();
    for (;; world_->changed.wait(lock)) {
      check_failure();
      if (done()) break;
      for (const int rank : world_->waited_for(rank_))
        if (world_->ranks[rank].left)
          world_->fail(rank_, ended_before(kind, rank, world_->ranks[rank].activity));
      check_failure();
    }
    me_.waits = WaitKind::kNone;
  }

  std::shared_ptr<World> world_;
  RankState& me_;
  int rank_;
};

}  // namespace

std::unique_ptr<Communicator> single() {
  return std::make_unique<ThreadCommunicator>(std::make_shared<World>(1), 0);
}

void run_threads(int size, const std::function<void(Communicator&)>& body) {
  const auto world = std::make_shared<World>(size);
  std::vector<std::exception_ptr> errors(size);
  std::vector<std::thread> threads;
  const auto run_rank = [&](int rank) {
    ThreadCommunicator communicator(world, rank);
    try {
      body(communicator);
    } catch (...) {
      communicator.abort(describe_exception());
      errors[rank] = std::current_exception();
    }
  };
  for (int rank = 0; rank < size; ++rank) threads.emplace_back(run_rank, rank);
  for (std::thread& thread : threads) thread.join();
  if (!world->failure) return;
  // The rank that failed first has the cause; the errors of the others only name it.
  if (errors[world->failure->rank]) std::rethrow_exception(errors[world->failure->rank]);
  throw JobError(world->failure->text);
}

}  // namespace shoal::comm
