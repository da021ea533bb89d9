// What is said about ranks that fail or wait, in the same words for every transport.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "comm/comm.h"

namespace shoal::comm {

/// "rank 1, step 12: forward", or "rank 1" when the rank never said what it does: the place of an error
/// message.
std::string rank_place(int rank, std::string_view activity);

/// The sentence about a rank that failed: its place, then the reason, which may begin with the place already.
std::string failure_text(int rank, std::string_view activity, std::string_view reason);

enum class WaitKind : int { kNone, kBarrier, kSend, kRecv, kSignal };
const char* wait_name(WaitKind);

struct Peer {
  int rank;
  std::string activity;
};

/// The sentence of Communicator::waiting().
std::string describe_wait(WaitKind, double seconds, const std::vector<Peer>& waited_for);

/// Why waiting for a rank that ended well fails: "barrier: rank 1 ended before (after step 3)".
std::string ended_before(WaitKind, int rank, std::string_view activity);

/// Throws BrokenInvariant unless `peer` is another rank of the world.
void check_peer(const Communicator&, const char* operation, int peer);

/// Throws BrokenInvariant unless post and await may use `channel`.
void check_channel(const Communicator&, int channel);

/// Throws BrokenInvariant when await would wait for a rank outside of the world, or for itself: `posted` is
/// this rank's own count.
void check_await(const Communicator&, int rank, uint64_t posted, uint64_t count);

/// Throws BrokenInvariant unless [offset, offset + bytes) lies within `rank`'s part of the window.
void check_read(const Window&, int rank, size_t offset, size_t bytes);

}  // namespace shoal::comm
