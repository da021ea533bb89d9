// What a transport is. A transport is a folder (threads/, shm/) that implements Communicator, Link and Window;
// what others use is a Group (group.h), with the collectives on top (collectives.h), written once for all.
// docs/comm.md is the page to read first.
//
// Threads: a Communicator and all that it made belong to one thread of its rank; waiting() alone may be called
// from any. Errors: when any rank dies, calls abort(), or ends while others wait for it, every rank that
// waits, or waits later, throws JobError naming that rank within a second. Nothing hangs.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

namespace shoal::comm {

/// Memory of each member of a group that the others may read. The bytes start zeroed, aligned to a page.
/// A peer's bytes may be read between the barrier after they were written and the barrier before they change
/// again. May outlive its Group and its Communicator. Dropping it is no collective call: each rank lets go
/// when it likes.
class Window {
 public:
  virtual ~Window() = default;
  virtual std::span<std::byte> mine() = 0;
  /// The size of `member`'s part.
  virtual size_t bytes(int member) const = 0;
  /// `bytes` bytes of `member`'s memory from `offset`: in place where the transport can, else fetched into
  /// `scratch` first. Returns where they lie. REQUIRES: offset + bytes <= this->bytes(member), else
  /// BrokenInvariant; scratch.size() >= bytes or in_place().
  virtual const std::byte* read(int member, size_t offset, size_t bytes, std::span<std::byte> scratch) = 0;
  /// Whether read() never needs scratch.
  virtual bool in_place() const = 0;
};

/// What the members of one group share: the least that a transport has to do. A Group has one of its own and
/// promises what its calls do; ranks are counted as members of the group here.
class Link {
 public:
  virtual ~Link() = default;
  virtual void arrive() = 0;
  virtual void pass() = 0;
  virtual std::shared_ptr<Window> window(size_t bytes) = 0;
  virtual void send(int to, std::span<const std::byte> bytes) = 0;
  virtual void recv(int from, std::span<std::byte> bytes) = 0;
  virtual uint64_t post() = 0;
  virtual void await(int member, uint64_t count) = 0;
};

/// One rank's place in the job.
class Communicator {
 public:
  virtual ~Communicator() = default;
  virtual int rank() const = 0;
  virtual int size() const = 0;

  /// Joins these ranks, this one among them: the n-th link of a list is one for all who are in it, whatever
  /// other links they make. Never waits, and asks nothing of other ranks. A link's shared part is gone once
  /// all of them have dropped theirs. REQUIRES: check_members(); the link is dropped before its Communicator.
  virtual std::unique_ptr<Link> link(std::span<const int> ranks) = 0;

  /// Gives up for the whole job: wakes every waiter with an error that carries this rank and `reason`.
  virtual void abort(std::string_view reason) noexcept = 0;

  /// What this rank does now ("step 12: reduce_scatter gradients"), for error messages and the watchdog.
  /// Cheap.
  virtual void set_activity(std::string_view activity) noexcept = 0;
  /// What it said last; its first 255 bytes.
  virtual std::string activity() const = 0;

  /// What this rank waits for now, and what those do whom it waits for: "barrier for 31 s: rank 1 (step 12:
  /// forward)"; "" when it does not wait. A slow rank is no error; this is for a watchdog to tell.
  virtual std::string waiting() const = 0;
};

/// A job of one rank: barriers and signals return at once, send and recv are errors.
std::unique_ptr<Communicator> single();

}  // namespace shoal::comm
