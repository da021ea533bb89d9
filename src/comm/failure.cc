#include "comm/failure.h"

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

void check_peer(const Communicator& world, const char* operation, int peer) {
  if (peer < 0 || peer >= world.size() || peer == world.rank())
    throw BrokenInvariant(cat("rank ", world.rank(), " - ", operation, ": got rank ", peer,
                              ", want another rank of ", world.size()));
}

void check_channel(const Communicator& world, int channel) {
  if (channel < 0 || channel >= Communicator::kChannels)
    throw BrokenInvariant(cat("rank ", world.rank(), " - signal: got channel ", channel, ", want one of ",
                              Communicator::kChannels));
}

void check_await(const Communicator& world, int rank, uint64_t posted, uint64_t count) {
  if (rank < 0 || rank >= world.size())
    throw BrokenInvariant(
        cat("rank ", world.rank(), " - signal: got rank ", rank, ", want one of ", world.size()));
  if (rank == world.rank() && posted < count)
    throw BrokenInvariant(
        cat("rank ", rank, " - signal: got itself at ", posted, ", want it at ", count, " before it waits"));
}

void check_read(const Window& window, int rank, size_t offset, size_t bytes) {
  const size_t have = window.bytes(rank);
  if (offset > have || bytes > have - offset)
    throw BrokenInvariant(cat("window - read of rank ", rank, ": got ", bytes, " bytes at ", offset,
                              ", want at most ", have, " in all"));
}

}  // namespace shoal::comm
