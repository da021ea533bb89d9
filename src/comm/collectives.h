// The collectives, written once over Window and barrier, for every transport. All are collective calls: every
// rank makes them in the same order.
//
// Those over a Window work in place: window memory in, window memory out, the peers' bytes read where they
// lie. Those over private memory pass it through Communicator::staging() in pieces and allocate nothing.
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

/// Part r of `send` (equal parts) goes to rank r; part r of `receive` came from rank r. The sizes must agree.
void all_to_all(Communicator&, std::span<const std::byte> send, std::span<std::byte> receive);

/// Of `count` floats at byte `offset` of everyone's window, share(count, size, r) of rank r goes to all the
/// others.
void all_gather(Communicator&, Window&, size_t offset, size_t count);

/// Of `count` floats at byte `offset` of everyone's window, this rank's share(count, size, rank) of its own
/// memory becomes the tree sum over the ranks. The rest keeps what it was.
void reduce_scatter(Communicator&, Window&, size_t offset, size_t count);

/// reduce_scatter, then all_gather: every rank's `count` floats become the tree sum over the ranks; 2 (n-1)/n
/// of the bytes move per rank.
void all_reduce(Communicator&, Window&, size_t offset, size_t count);

/// Where the counts of `channel` stand, by rank, for who begins to use it: a job may have had other users of
/// it, and not all ranks the same.
std::vector<uint64_t> signal_counts(Communicator&, int channel);

}  // namespace shoal::comm
