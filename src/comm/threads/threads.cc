// Ranks as threads of one process: for tests, and the world of one. All that is shared lies behind one mutex,
// except the windows' bytes, which barriers order; so the thread sanitizer sees whether code above keeps the
// rule of windows.
#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <exception>
#include <functional>
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
  ThreadWindow(int me, std::vector<std::shared_ptr<Pages>> parts) : me_(me), parts_(std::move(parts)) {}
  std::span<std::byte> mine() override { return parts_[me_]->bytes(); }
  size_t bytes(int member) const override { return parts_.at(member)->bytes().size(); }
  const std::byte* read(int member, size_t offset, size_t bytes, std::span<std::byte>) override {
    check_read(*this, member, offset, bytes);
    return parts_[member]->bytes().data() + offset;
  }
  bool in_place() const override { return true; }

 private:
  int me_;
  std::vector<std::shared_ptr<Pages>> parts_;
};

/// What the members of a group share.
struct GroupState {
  explicit GroupState(std::vector<int> ranks_in) : ranks(std::move(ranks_in)), members(ranks.size()) {}
  struct Member {
    uint64_t barriers = 0;           // entered so far
    uint64_t posts = 0;              // signals so far
    std::shared_ptr<Pages> offered;  // its part of the window that is being made
    std::map<int, std::deque<std::vector<std::byte>>> mail;  // by sender
  };
  const std::vector<int> ranks;
  std::vector<Member> members;
  size_t come = 0;          // members that have made their link
  size_t arrived = 0;       // at the present barrier
  uint64_t generation = 0;  // barriers completed

  std::vector<int> late(const Member& me) const {
    std::vector<int> late;
    for (size_t m = 0; m < members.size(); ++m)
      if (members[m].barriers < me.barriers) late.push_back(ranks[m]);
    return late;
  }
};

struct RankState {
  bool left = false;  // its communicator is gone
  std::string activity;
  std::map<std::vector<int>, uint64_t> made;  // groups so far, by their ranks
  WaitKind waits = WaitKind::kNone;
  std::function<std::vector<int>()> waited_for;  // while it waits
  Clock::time_point waits_since;
};

struct Failure {
  int rank;
  std::string text;  // for the other ranks
};

struct Job {
  explicit Job(int size) : ranks(size) {}
  std::mutex mutex;  // guards all below, and every GroupState
  std::condition_variable changed;
  std::vector<RankState> ranks;
  std::map<std::pair<std::vector<int>, uint64_t>, std::shared_ptr<GroupState>> groups;  // not all have come
  std::optional<Failure> failure;

  void fail(int rank, std::string_view reason) {
    if (!failure) failure = Failure{rank, failure_text(rank, ranks[rank].activity, reason)};
    changed.notify_all();
  }
  void check_failure() const {
    if (failure) throw JobError(failure->text);
  }
};

class ThreadLink : public Link {
 public:
  ThreadLink(std::shared_ptr<Job> job, int rank, std::shared_ptr<GroupState> state)
      : job_(std::move(job)),
        state_(std::move(state)),
        rank_(rank),
        me_(static_cast<int>(std::ranges::find(state_->ranks, rank) - state_->ranks.begin())),
        mine_(state_->members[me_]) {}

  void arrive() override {
    const std::lock_guard lock(job_->mutex);
    job_->check_failure();
    ++mine_.barriers;
    if (++state_->arrived < state_->ranks.size()) return;
    state_->arrived = 0;
    ++state_->generation;
    job_->changed.notify_all();
  }

  void pass() override {
    std::unique_lock lock(job_->mutex);
    const auto complete = [&] { return state_->generation >= mine_.barriers; };
    if (!complete()) wait(lock, WaitKind::kBarrier, -1, complete);
  }

  std::shared_ptr<Window> window(size_t bytes) override {
    mine_.offered = std::make_shared<Pages>(bytes);
    arrive(), pass();
    std::vector<std::shared_ptr<Pages>> parts;
    for (const GroupState::Member& member : state_->members) parts.push_back(member.offered);
    arrive(), pass();
    mine_.offered.reset();
    return std::make_shared<ThreadWindow>(me_, std::move(parts));
  }

  void send(int to, std::span<const std::byte> bytes) override {
    const std::lock_guard lock(job_->mutex);
    job_->check_failure();
    state_->members[to].mail[me_].emplace_back(bytes.begin(), bytes.end());
    job_->changed.notify_all();
  }

  void recv(int from, std::span<std::byte> bytes) override {
    std::unique_lock lock(job_->mutex);
    auto& mail = mine_.mail[from];
    wait(lock, WaitKind::kRecv, from, [&] { return !mail.empty(); });
    const std::vector<std::byte> message = std::move(mail.front());
    mail.pop_front();
    if (message.size() != bytes.size()) {
      job_->fail(rank_, cat("recv from rank ", state_->ranks[from], ": got ", message.size(),
                            " bytes, want ", bytes.size()));
      job_->check_failure();
    }
    if (!message.empty()) std::memcpy(bytes.data(), message.data(), message.size());
  }

  uint64_t post() override {
    const std::lock_guard lock(job_->mutex);
    job_->check_failure();
    job_->changed.notify_all();
    return ++mine_.posts;
  }

  void await(int member, uint64_t count) override {
    std::unique_lock lock(job_->mutex);
    if (member == me_) check_own_count(rank_, mine_.posts, count);
    wait(lock, WaitKind::kSignal, member, [&] { return state_->members[member].posts >= count; });
  }

 private:
  struct Awake {
    RankState& rank;
    ~Awake() { rank.waits = WaitKind::kNone; }
  };
  template <class Done>
  void wait(std::unique_lock<std::mutex>& lock, WaitKind kind, int peer, Done done) {
    RankState& rank = job_->ranks[rank_];
    rank.waits = kind, rank.waits_since = Clock::now();
    rank.waited_for = [this, peer] {
      return peer < 0 ? state_->late(mine_) : std::vector<int>{state_->ranks[peer]};
    };
    const Awake awake{rank};
    job_->check_failure();
    for (;; job_->changed.wait(lock)) {
      if (done()) return;  // what is complete stands, whatever a peer did since
      job_->check_failure();
      for (const int other : rank.waited_for())
        if (job_->ranks[other].left) job_->fail(rank_, ended_before(kind, other, job_->ranks[other].activity));
      job_->check_failure();
    }
  }

  const std::shared_ptr<Job> job_;
  const std::shared_ptr<GroupState> state_;
  const int rank_, me_;
  GroupState::Member& mine_;
};

class ThreadCommunicator : public Communicator {
 public:
  ThreadCommunicator(std::shared_ptr<Job> job, int rank)
      : job_(std::move(job)), me_(job_->ranks[rank]), rank_(rank) {}
  ~ThreadCommunicator() override {
    const std::lock_guard lock(job_->mutex);
    me_.left = true;
    job_->changed.notify_all();
  }

  int rank() const override { return rank_; }
  int size() const override { return static_cast<int>(job_->ranks.size()); }

  std::unique_ptr<Link> link(std::span<const int> ranks) override {
    const std::lock_guard lock(job_->mutex);
    job_->check_failure();
    std::vector<int> list(ranks.begin(), ranks.end());
    const std::pair key(list, me_.made[list]++);
    std::shared_ptr<GroupState>& entry = job_->groups[key];
    if (!entry) entry = std::make_shared<GroupState>(std::move(list));
    const std::shared_ptr<GroupState> state = entry;
    if (++state->come == state->ranks.size()) job_->groups.erase(key);
    return std::make_unique<ThreadLink>(job_, rank_, state);
  }

  void abort(std::string_view reason) noexcept override {
    const std::lock_guard lock(job_->mutex);
    job_->fail(rank_, reason);
  }

  void set_activity(std::string_view activity) noexcept override {
    const std::lock_guard lock(job_->mutex);
    me_.activity = activity;
  }
  std::string activity() const override {
    const std::lock_guard lock(job_->mutex);
    return me_.activity;
  }

  std::string waiting() const override {
    const std::lock_guard lock(job_->mutex);
    if (me_.waits == WaitKind::kNone) return "";
    std::vector<Peer> peers;
    for (const int rank : me_.waited_for()) peers.push_back({rank, job_->ranks[rank].activity});
    return describe_wait(me_.waits, std::chrono::duration<double>(Clock::now() - me_.waits_since).count(),
                         peers);
  }

 private:
  const std::shared_ptr<Job> job_;
  RankState& me_;
  const int rank_;
};

}  // namespace

std::unique_ptr<Communicator> single() {
  return std::make_unique<ThreadCommunicator>(std::make_shared<Job>(1), 0);
}

void run_threads(int size, const std::function<void(Communicator&)>& body) {
  const auto job = std::make_shared<Job>(size);
  std::vector<std::exception_ptr> errors(size);
  std::vector<std::thread> threads;
  const auto run_rank = [&](int rank) {
    ThreadCommunicator communicator(job, rank);
    try {
      body(communicator);
    } catch (...) {
      communicator.abort(describe_exception());
      errors[rank] = std::current_exception();
    }
  };
  for (int rank = 0; rank < size; ++rank) threads.emplace_back(run_rank, rank);
  for (std::thread& thread : threads) thread.join();
  if (!job->failure) return;
  // The rank that failed first has the cause; the errors of the others only name it.
  if (errors[job->failure->rank]) std::rethrow_exception(errors[job->failure->rank]);
  throw JobError(job->failure->text);
}

}  // namespace shoal::comm
