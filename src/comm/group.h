// Ranks that work together: all that they say to each other goes through a Group. The world is one, and who
// needs another makes it: groups cost a page, and two that are made of the same ranks know nothing of each
// other. So whoever waits for counts of its own, or must not be disturbed, has a Group of its own.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "comm/comm.h"

namespace shoal::comm {

/// Its members are counted from 0, in the order of the list; every `member` and root here is such a number.
/// All calls but post, await, send and recv are collective: every member makes them in the same order.
/// Threads and errors: as its Communicator's. A Group ends before its Communicator does.
class Group {
 public:
  /// All ranks of the job.
  explicit Group(Communicator&);
  /// These ranks, in this order; this one is among them. All of them make their groups of this list in the same
  /// order; ranks that are not in it have no part in it. Never waits. Throws BrokenInvariant when the list
  /// names no rank, one twice, or not this one.
  Group(Communicator&, std::vector<int> ranks);
  /// Some members of another group, named as it counts them; nothing else ties them.
  Group(const Group& of, std::span<const int> members);

  int rank() const { return rank_; }  // of this member
  int size() const { return static_cast<int>(ranks_.size()); }
  /// The member's rank in the job.
  int world_rank(int member) const { return ranks_.at(static_cast<size_t>(member)); }
  Communicator& communicator() const { return *communicator_; }

  /// Returns once every member has called it. What a member wrote before is visible to all after.
  void barrier();
  /// The barrier in two: arrive() says that this member has come and never waits; pass() returns once all have.
  /// Between them this group has no other collective call, else BrokenInvariant.
  void arrive();
  void pass();

  /// The members may ask for different sizes, 0 included. Freed when the last reference on every rank is gone.
  std::shared_ptr<Window> window(size_t bytes);

  /// Blocking, in order for each pair of members; sizes on both sides must agree (else the job fails: JobError
  /// on both). send may return before the peer received, and never deadlocks against a matching recv, nor
  /// against peers that send too: a sender that must wait takes in what is sent to it.
  void send(int to, std::span<const std::byte> bytes);
  void recv(int from, std::span<std::byte> bytes);

  /// Signals: each member counts what it has done, from 0, and its peers wait for the count. As all do the same
  /// sequence of exchanges, each knows what count to wait for.
  /// post adds one to this member's count and returns it. What the member wrote before, in windows too, is
  /// visible to whoever has seen the count. Never waits.
  uint64_t post();
  /// Returns once `member`'s count is at least `count`. A rank that ends before it is so fails the job. This
  /// member's own count may be named, once it is reached.
  void await(int member, uint64_t count);

  /// A window of kStagingBytes on every member that the collectives pass private memory through; made at the
  /// first use (collective).
  Window& staging();
  static constexpr size_t kStagingBytes = size_t{1} << 20;

 private:
  void require_idle() const;

  Communicator* communicator_;
  std::vector<int> ranks_;
  int rank_;
  std::unique_ptr<Link> link_;
  std::shared_ptr<Window> staging_;
  bool arrived_ = false;
};

}  // namespace shoal::comm
