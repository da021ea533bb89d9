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

enum class WaitKind : int { kNone, kBarrier, kSend, kRecv, kSignal };
const char* wait_name(WaitKind);

struct Peer {
  int rank;
  std::string activity;
};

/// The sentence of Communicator::waiting().
std::string describe_wait(WaitKind, double seconds, const std::vector<Peer>& waited_for);

/// Throws std::logic_error unless `peer` is another rank of the world.
void check_peer(const Communicator&, const char* operation, int peer);

/// Throws std::logic_error unless post and await may use `channel`.
void check_channel(const Communicator&, int channel);

/// Throws std::logic_error when await would wait for a rank outside of the world, or for itself: `posted` is
/// this rank's own count.
void check_await(const Communicator&, int rank, uint64_t posted, uint64_t count);

/// Throws std::logic_error unless [offset, offset + bytes) lies within `rank`'s part of the window.
void check_read(const Window&, int rank, size_t offset, size_t bytes);

}  // namespace shoal::comm
