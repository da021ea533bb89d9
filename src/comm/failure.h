// What is said about ranks that fail or wait, in the same words for every transport.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "comm/group.h"

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

/// Throws BrokenInvariant unless a link may have these ranks: some of the job, each once, this one among them.
void check_members(const Communicator&, std::span<const int> ranks);

/// Throws BrokenInvariant unless the group has such a member; or, of check_peer, such another member.
void check_member(const Group&, const char* operation, int member);
void check_peer(const Group&, const char* operation, int peer);

/// Throws BrokenInvariant when a member would wait for itself: `posted` is its own count.
void check_own_count(int rank, uint64_t posted, uint64_t count);

/// Throws BrokenInvariant unless [offset, offset + bytes) lies within `member`'s part of the window.
void check_read(const Window&, int member, size_t offset, size_t bytes);

}  // namespace shoal::comm
