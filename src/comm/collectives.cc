#include "comm/collectives.h"

#include <algorithm>
#include <cstring>

#include "base/fault.h"
#include "base/text.h"
#include "comm/copy.h"

namespace shoal::comm {
namespace {

// Empty where the transport reads in place.
std::vector<std::byte> scratch_for(const Window& window, size_t bytes) {
  return std::vector<std::byte>(window.in_place() ? 0 : bytes);
}

constexpr size_t kHalf = Communicator::kStagingBytes / 2;

// Passes private memory through the staging window piece by piece: `fill(begin, piece)` writes bytes [begin,
// begin + piece.size()) of the whole, `take(begin, offset, bytes)` reads them at `offset` of the peers'
// windows. Two halves in turn: while one is read, the other is filled, so that one barrier a piece is enough.
template <class Fill, class Take>
void pass_through(Communicator& world, size_t total, size_t piece_limit, Fill fill, Take take) {
  Window& staging = world.staging();
  for (size_t begin = 0, half = 0; begin < total; begin += piece_limit, half ^= 1) {
    const size_t bytes = std::min(piece_limit, total - begin);
    fill(begin, bytes, staging.mine().subspan(half * kHalf, kHalf));
    world.barrier();
    take(begin, bytes, half * kHalf);
  }
  // The next collective may fill a half that a slow rank still reads.
  world.barrier();
}

struct Share {
  size_t offset, count;
};
Share share_of(int rank, const Communicator& world, size_t offset, size_t count) {
  const Range range = share(static_cast<int64_t>(count), world.size(), rank);
  return {offset + range.begin * sizeof(float), static_cast<size_t>(range.size())};
}

// One pass of sums; a multiple of the block that owners work in, and small enough for scratch.
constexpr size_t kPass = kBlockElements;

// out = the tree sum over the ranks of `count` floats at `offset`. `out` may be this rank's own part of the
// window.
void sum_ranks(Communicator& world, Window& window, size_t offset, size_t count, float* out) {
  std::vector<std::byte> scratch = scratch_for(window, world.size() * kPass * sizeof(float));
  std::vector<Root> roots(world.size());
  for (size_t begin = 0; begin < count; begin += kPass) {
    const size_t elements = std::min(kPass, count - begin), bytes = elements * sizeof(float);
    for (int rank = 0; rank < world.size(); ++rank) {
      const std::span<std::byte> room = scratch.empty()
                                            ? std::span<std::byte>()
                                            : std::span(scratch).subspan(rank * kPass * sizeof(float), bytes);
      roots[rank] = {
          {rank, rank + 1}, window.read(rank, offset + begin * sizeof(float), bytes, room), DType::kF32};
    }
    sum_roots(world.size(), roots, {out + begin, elements});
  }
}

float* floats(Window& window, size_t offset) {
  return reinterpret_cast<float*>(window.mine().data() + offset);
}

// Assumes that all shares are final and visible.
void fetch_shares(Communicator& world, Window& window, size_t offset, size_t count) {
  // Each rank starts at its right neighbour, so that not all read the same memory at once.
  for (int step = 1; step < world.size(); ++step) {
    const int rank = (world.rank() + step) % world.size();
    const Share theirs = share_of(rank, world, offset, count);
    std::byte* into = window.mine().data() + theirs.offset;
    const size_t bytes = theirs.count * sizeof(float);
    const std::byte* from = window.read(rank, theirs.offset, bytes, {into, bytes});
    if (from != into) copy_bytes(into, from, bytes);
  }
}

void reduce_own_share(Communicator& world, Window& window, size_t offset, size_t count) {
  const Share mine = share_of(world.rank(), world, offset, count);
  sum_ranks(world, window, mine.offset, mine.count, floats(window, mine.offset));
}

}  // namespace

std::vector<std::vector<std::byte>> all_gather(Communicator& world, std::span<const std::byte> mine) {
  Window& staging = world.staging();
  std::byte scratch_size[sizeof(uint64_t)];
  std::vector<std::vector<std::byte>> all(world.size());
  const uint64_t my_size = mine.size();
  std::memcpy(staging.mine().data(), &my_size, sizeof my_size);
  world.barrier();
  size_t largest = 0;
  for (int rank = 0; rank < world.size(); ++rank) {
    uint64_t size;
    std::memcpy(&size, staging.read(rank, 0, sizeof size, scratch_size), sizeof size);
    all[rank].resize(size);
    largest = std::max<size_t>(largest, size);
  }
  world.barrier();
  const auto part = [](size_t size, size_t begin, size_t bytes) {
    return begin >= size ? size_t{0} : std::min(bytes, size - begin);
  };
  pass_through(
      world, largest, kHalf,
      [&](size_t begin, size_t bytes, std::span<std::byte> to) {
        copy_bytes(to.data(), mine.data() + begin, part(mine.size(), begin, bytes));
      },
      [&](size_t begin, size_t bytes, size_t at) {
        for (int rank = 0; rank < world.size(); ++rank) {
          const size_t theirs = part(all[rank].size(), begin, bytes);
          std::byte* into = all[rank].data() + begin;
          const std::byte* from = staging.read(rank, at, theirs, {into, theirs});
          if (from != into) copy_bytes(into, from, theirs);
        }
      });
  return all;
}

void broadcast(Communicator& world, int root, std::span<std::byte> bytes) {
  if (root < 0 || root >= world.size())
    throw BrokenInvariant(cat("broadcast - root: got ", root, ", want a rank of ", world.size()));
  pass_through(
      world, bytes.size(), kHalf,
      [&](size_t begin, size_t count, std::span<std::byte> to) {
        if (world.rank() == root) copy_bytes(to.data(), bytes.data() + begin, count);
      },
      [&](size_t begin, size_t count, size_t at) {
        if (world.rank() == root) return;
        std::byte* into = bytes.data() + begin;
        const std::byte* from = world.staging().read(root, at, count, {into, count});
        if (from != into) copy_bytes(into, from, count);
      });
}

void all_to_all(Communicator& world, std::span<const std::byte> send, std::span<std::byte> receive) {
  const size_t ranks = world.size(), part = send.size() / ranks;
  if (send.size() != receive.size() || send.size() % ranks != 0)
    throw BrokenInvariant(cat("all_to_all - sizes: got ", send.size(), " to send and ", receive.size(),
                              " to receive, want equal multiples of ", ranks));
  const size_t piece = kHalf / ranks;
  pass_through(
      world, part, piece,
      [&](size_t begin, size_t bytes, std::span<std::byte> to) {
        for (size_t rank = 0; rank < ranks; ++rank)
          copy_bytes(to.data() + rank * piece, send.data() + rank * part + begin, bytes);
      },
      [&](size_t begin, size_t bytes, size_t at) {
        for (size_t rank = 0; rank < ranks; ++rank) {
          std::byte* into = receive.data() + rank * part + begin;
          const std::byte* from =
              world.staging().read(static_cast<int>(rank), at + world.rank() * piece, bytes, {into, bytes});
          if (from != into) copy_bytes(into, from, bytes);
        }
      });
}

void all_gather(Communicator& world, Window& window, size_t offset, size_t count) {
  world.barrier();
  fetch_shares(world, window, offset, count);
  world.barrier();
}

void reduce_scatter(Communicator& world, Window& window, size_t offset, size_t count) {
  world.barrier();
  reduce_own_share(world, window, offset, count);
  world.barrier();
}

void all_reduce(Communicator& world, Window& window, size_t offset, size_t count) {
  world.barrier();
  reduce_own_share(world, window, offset, count);
  world.barrier();
  fetch_shares(world, window, offset, count);
  world.barrier();
}

std::vector<uint64_t> signal_counts(Communicator& communicator, int channel) {
  const uint64_t mine = communicator.post(channel);
  std::vector<uint64_t> counts;
  for (const auto& bytes : all_gather(communicator, std::as_bytes(std::span(&mine, 1))))
    std::memcpy(&counts.emplace_back(), bytes.data(), sizeof(uint64_t));
  return counts;
}

}  // namespace shoal::comm
