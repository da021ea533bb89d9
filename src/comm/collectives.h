// The collectives, written once over Window and barrier, for every transport. All are collective calls: every rank makes them in the same order.
#pragma once

#include <span>
#include <vector>

#include "comm/comm.h"
#include "comm/reduce.h"

namespace shoal::comm {

/// Everyone's bytes, by rank; the sizes may differ.
std::vector<std::vector<std::byte>> all_gather(Communicator&, std::span<const std::byte> mine);

/// `bytes` of `root` to everyone. The sizes must agree.
void broadcast(Communicator&, int root, std::span<std::byte> bytes);

/// Part r of `send` (equal parts) goes to rank r; part r of `receive` came from rank r.
void all_to_all(Communicator&, std::span<const std::byte> send, std::span<std::byte> receive);

/// Window memory in, window memory out, in place: every rank's `count` floats at byte `offset` become the tree sum over the ranks.
/// Each rank sums its share reading the peers' memory in place, then all gather the shares: 2 (n-1)/n of the bytes move per rank.
void all_reduce(Communicator&, Window&, size_t offset, size_t count);

/// As all_reduce, but only this rank's share(count, size, rank) of its own memory receives the sum.
void reduce_scatter(Communicator&, Window&, size_t offset, size_t count);

}  // namespace shoal::comm
