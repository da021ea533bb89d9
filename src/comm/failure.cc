#include "comm/failure.h"

#include <algorithm>

#include "base/fault.h"
#include "base/text.h"

namespace shoal::comm {

std::string rank_place(int rank, std::string_view activity) {
  return activity.empty() ? cat("rank ", rank) : cat("rank ", rank, ", ", activity);
}

std::string failure_text(int rank, std::string_view activity, std::string_view reason) {
  const std::string who = cat("rank ", rank);
  const bool has_place = reason.starts_with(who + ", ") || reason.starts_with(who + " - ");
  return has_place ? std::string(reason) : cat(rank_place(rank, activity), " - ", reason);
}

std::string ended_before(WaitKind kind, int rank, std::string_view activity) {
  return cat(wait_name(kind), ": rank ", rank, " ended before",
             activity.empty() ? std::string() : cat(" (", activity, ")"));
}

const char* wait_name(WaitKind kind) {
  switch (kind) {
    case WaitKind::kBarrier:
      return "barrier";
    case WaitKind::kSend:
      return "send";
    case WaitKind::kRecv:
      return "recv";
    case WaitKind::kSignal:
      return "signal";
    case WaitKind::kNone:
      break;
  }
  return "";
}

std::string describe_wait(WaitKind kind, double seconds, const std::vector<Peer>& waited_for) {
  if (kind == WaitKind::kNone) return "";
  std::vector<std::string> peers;
  for (const Peer& peer : waited_for)
    peers.push_back(peer.activity.empty() ? cat("rank ", peer.rank)
                                          : cat("rank ", peer.rank, " (", peer.activity, ")"));
  return cat(wait_name(kind), " for ", static_cast<long>(seconds), " s: ", join(peers, ", "));
}

void check_members(const Communicator& communicator, std::span<const int> ranks) {
  std::vector<int> sorted(ranks.begin(), ranks.end());
  std::ranges::sort(sorted);
  const bool ranks_of_job = !sorted.empty() && sorted.front() >= 0 && sorted.back() < communicator.size();
  if (!ranks_of_job || std::ranges::adjacent_find(sorted) != sorted.end() ||
      !std::ranges::binary_search(sorted, communicator.rank()))
    throw BrokenInvariant(cat("rank ", communicator.rank(), " - group: got ranks [", join(ranks, ", "),
                               "], want some of ", communicator.size(), ", each once, with this one"));
}

void check_member(const Group& group, const char* operation, int member) {
  if (member < 0 || member >= group.size())
    throw BrokenInvariant(cat("rank ", group.communicator().rank(), " - ", operation, ": got member ", member,
                               ", want one of ", group.size()));
}

void check_peer(const Group& group, const char* operation, int peer) {
  if (peer < 0 || peer >= group.size() || peer == group.rank())
    throw BrokenInvariant(cat("rank ", group.communicator().rank(), " - ", operation, ": got member ", peer,
                               ", want another of ", group.size()));
}

void check_own_count(int rank, uint64_t posted, uint64_t count) {
  if (posted < count)
    throw BrokenInvariant(
        cat("rank ", rank, " - signal: got itself at ", posted, ", want it at ", count, " before it waits"));
}

void check_read(const Window& window, int member, size_t offset, size_t bytes) {
  const size_t have = window.bytes(member);
  if (offset > have || bytes > have - offset)
    throw BrokenInvariant(cat("window - read of member ", member, ": got ", bytes, " bytes at ", offset,
                               ", want at most ", have, " in all"));
}

}  // namespace shoal::comm
