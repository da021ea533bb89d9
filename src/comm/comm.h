// The one interface between ranks. A transport is a folder (threads/, shm/) that implements it; everything
// else, reductions included, is written once on top (collectives.h, reduce.h). docs/comm.md is the page to
// read first.
//
// Threads: a Communicator belongs to one thread of its rank; waiting() alone may be called from any. Errors:
// when any rank dies, calls abort(), or ends while others wait for it, every rank that waits, or waits later,
// throws JobError naming that rank within a second. Nothing hangs.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

namespace shoal::comm {

/// Memory of this rank that its peers may read. The bytes start zeroed, aligned to a page.
/// A peer's bytes may be read between the barrier after they were written and the barrier before they change
/// again. May outlive its Communicator. Dropping it is no collective call: each rank lets go when it likes.
class Window {
 public:
  virtual ~Window() = default;
  virtual std::span<std::byte> mine() = 0;
  /// The size of `rank`'s part.
  virtual size_t bytes(int rank) const = 0;
  /// `bytes` bytes of `rank`'s memory from `offset`: in place where the transport can, else fetched into
  /// `scratch` first. Returns where they lie. REQUIRES: offset + bytes <= this->bytes(rank), else
  /// BrokenInvariant; scratch.size() >= bytes or in_place().
  virtual const std::byte* read(int rank, size_t offset, size_t bytes, std::span<std::byte> scratch) = 0;
  /// Whether read() never needs scratch.
  virtual bool in_place() const = 0;
};

class Communicator {
 public:
  virtual ~Communicator() = default;
  virtual int rank() const = 0;
  virtual int size() const = 0;

  /// Returns once every rank has called it. What a rank wrote before is visible to all after.
  virtual void barrier() = 0;

  /// Collective. The ranks may ask for different sizes, 0 included. Freed when the last reference on every
  /// rank is gone.
  virtual std::shared_ptr<Window> window(size_t bytes) = 0;

  /// Blocking, in order for each pair of ranks; sizes on both sides must agree (else the job fails: JobError
  /// on both). send may return before the peer received, and never deadlocks against a matching recv, nor
  /// against peers that send too: a sender that must wait takes in what is sent to it.
  virtual void send(int to, std::span<const std::byte> bytes) = 0;
  virtual void recv(int from, std::span<std::byte> bytes) = 0;

  /// Signals, for groups smaller than the world: on each of kChannels channels a rank counts what it has
  /// done, and its peers wait for the count. Each group of ranks takes a channel of its own; as all in it do
  /// the same sequence of exchanges, each knows what count to wait for.
  static constexpr int kChannels = 4;
  /// Adds one to this rank's count on `channel` and returns it. What the rank wrote before, in windows too,
  /// is visible to whoever has seen the count. Never waits.
  virtual uint64_t post(int channel) = 0;
  /// Returns once `rank`'s count on `channel` is at least `count`. A rank that ends before it is so fails the
  /// job. This rank's own count may be named, once it is reached.
  virtual void await(int rank, int channel, uint64_t count) = 0;

  /// Gives up for the whole world: wakes every waiter with an error that carries this rank and `reason`.
  virtual void abort(std::string_view reason) noexcept = 0;

  /// What this rank does now ("step 12: reduce_scatter gradients"), for error messages and the watchdog.
  /// Cheap.
  virtual void set_activity(std::string_view activity) noexcept = 0;
  /// What it said last; its first 255 bytes.
  virtual std::string activity() const = 0;

  /// What this rank waits for now, and what those do whom it waits for: "barrier for 31 s: rank 1 (step 12:
  /// forward)"; "" when it does not wait. A slow rank is no error; this is for a watchdog to tell.
  virtual std::string waiting() const = 0;

  /// A window of kStagingBytes on every rank that the collectives pass private memory through; made at the
  /// first use (collective).
  Window& staging();
  static constexpr size_t kStagingBytes = size_t{1} << 20;

 private:
  std::shared_ptr<Window> staging_;
};

/// A world of one: barriers and signals return at once, send and recv are errors.
std::unique_ptr<Communicator> single();

}  // namespace shoal::comm
