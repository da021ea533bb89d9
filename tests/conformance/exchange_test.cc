// What every transport promises: barrier, windows, send and recv.
#include <cstdint>
#include <random>
#include <thread>

#include "conformance/transports.h"

namespace shoal::comm {
namespace {

class Exchange : public OnRanks {};
SHOAL_ON_RANKS(Exchange, Transport::kThreads, Transport::kShm);

TEST_P(Exchange, RanksKnowTheirPlace) {
  run_well([&](Group& world) {
    EXPECT_EQ(world.size(), size());
    EXPECT_GE(world.rank(), 0);
    EXPECT_LT(world.rank(), size());
    const auto window = world.window(1);
    window->mine()[0] = static_cast<std::byte>(world.rank() + 1);
    world.barrier();
    for (int rank = 0; rank < size(); ++rank)
      EXPECT_EQ(*window->read(rank, 0, 1, {}), static_cast<std::byte>(rank + 1));
  });
}

TEST_P(Exchange, BarrierOrdersWritesAndReads) {
  run_well([&](Group& world) {
    const auto window = world.window(sizeof(int));
    int& mine = *reinterpret_cast<int*>(window->mine().data());
    for (int round = 1; round <= 100; ++round) {
      if ((round + world.rank()) % 17 == 0) std::this_thread::yield();
      mine = round;
      world.barrier();
      for (int rank = 0; rank < size(); ++rank)
        ASSERT_EQ(*reinterpret_cast<const int*>(window->read(rank, 0, sizeof(int), {})), round)
            << "of rank " << rank;
      world.barrier();
    }
  });
}

TEST_P(Exchange, WindowsOfUnlikeSizes) {
  run_well([&](Group& world) {
    const auto bytes_of = [](int rank) { return static_cast<size_t>(rank) * 5000; };  // none on rank 0
    const auto window = world.window(bytes_of(world.rank()));
    EXPECT_TRUE(window->in_place());
    ASSERT_EQ(window->mine().size(), bytes_of(world.rank()));
    EXPECT_EQ(reinterpret_cast<uintptr_t>(window->mine().data()) % 4096, 0u);
    for (const std::byte byte : window->mine()) ASSERT_EQ(byte, std::byte{0});
    for (size_t i = 0; i < window->mine().size(); ++i) window->mine()[i] = pattern(world.rank(), 1, i);
    world.barrier();
    for (int rank = 0; rank < size(); ++rank) {
      ASSERT_EQ(window->bytes(rank), bytes_of(rank));
      for (size_t offset = 0; offset < bytes_of(rank); offset += 777) {
        const size_t count = std::min<size_t>(100, bytes_of(rank) - offset);
        const std::byte* const read = window->read(rank, offset, count, {});
        for (size_t i = 0; i < count; ++i) ASSERT_EQ(read[i], pattern(rank, 1, offset + i));
      }
      window->read(rank, bytes_of(rank), 0, {});
      EXPECT_THROW(window->read(rank, bytes_of(rank), 1, {}), std::logic_error);
      EXPECT_THROW(window->read(rank, SIZE_MAX, 2, {}), std::logic_error);
    }
    EXPECT_THROW(window->read(size(), 0, 0, {}), std::exception);
  });
}

TEST_P(Exchange, AWindowOutlivesItsCommunicatorAndItsPeers) {
  std::vector<std::shared_ptr<Window>> kept(size());  // by the threads; a process keeps its own
  run_well([&](Group& world) {
    const auto window = world.window(10'000);
    window->mine()[9'999] = std::byte{7};
    world.barrier();
    if (world.rank() == 0) kept[0] = window;
  });
  if (kept[0]) {
    EXPECT_EQ(*kept[0]->read(size() - 1, 9'999, 1, {}), std::byte{7});
  }
}

// Windows made, written, read and dropped at random, each rank dropping at moments of its own, against what
// they must hold.
TEST_P(Exchange, ManyWindowsAtRandom) {
  const unsigned seed = std::random_device{}();
  run_well([&](Group& world) {
    std::mt19937 shared_random(seed), own_random(seed + 1 + world.rank());
    struct Live {
      std::shared_ptr<Window> window;
      size_t salt;
      size_t scale;
    };
    const auto bytes_of = [](size_t scale, int rank) { return scale * (rank + 1) % 30'000; };
    std::vector<Live> alive;
    for (size_t salt = 0; salt < 120; ++salt) {
      const size_t scale = shared_random() % 20'000;
      alive.push_back({world.window(bytes_of(scale, world.rank())), salt, scale});
      const std::span<std::byte> mine = alive.back().window->mine();
      for (size_t i = 0; i < mine.size(); ++i) {
        ASSERT_EQ(mine[i], std::byte{0}) << "not zeroed; seed " << seed;
        mine[i] = pattern(world.rank(), salt, i);
      }
      world.barrier();
      const Live& old = alive[own_random() % alive.size()];  // old bytes must not have changed
      const int rank = static_cast<int>(own_random() % size());
      const size_t bytes = bytes_of(old.scale, rank);
      const std::byte* const read = old.window->read(rank, 0, bytes, {});
      for (size_t i = 0; i < bytes; ++i) ASSERT_EQ(read[i], pattern(rank, old.salt, i)) << "seed " << seed;
      while (!alive.empty() && own_random() % 2 == 0)
        alive.erase(alive.begin() + own_random() % alive.size());
    }
  });
}

TEST_P(Exchange, MessagesArriveWholeAndInOrder) {
  run_well([&](Group& world) {
    const size_t sizes[] = {0, 1, 8, 1000, 65'535, 65'536, 65'537, 150'000};
    // Each sends to all, then receives from all: a matching recv comes, though everybody sends first.
    for (int to = 0; to < size(); ++to)
      for (size_t salt = 0; to != world.rank() && salt < std::size(sizes); ++salt)
        world.send(to, pattern_bytes(world.rank(), salt + to, sizes[salt]));
    for (int from = size() - 1; from >= 0; --from)
      for (size_t salt = 0; from != world.rank() && salt < std::size(sizes); ++salt) {
        std::vector<std::byte> got(sizes[salt]);
        world.recv(from, got);
        ASSERT_EQ(got, pattern_bytes(from, salt + world.rank(), sizes[salt]))
            << "from " << from << ", " << sizes[salt] << " bytes";
      }
  });
}

TEST_P(Exchange, LargeMessagesBothWaysAtOnce) {
  run_well([&](Group& world) {
    constexpr size_t kBytes = 600'001;  // many times what is buffered
    const int peer = world.rank() ^ 1;
    if (peer >= size()) return;
    std::vector<std::byte> got(kBytes);
    for (size_t salt = 0; salt < 2; ++salt) {
      world.send(peer, pattern_bytes(world.rank(), salt, kBytes));
      world.recv(peer, got);
      ASSERT_TRUE(got == pattern_bytes(peer, salt, kBytes));
    }
  });
}

TEST_P(Exchange, ARingOfMessagesAndBarriers) {
  run_well([&](Group& world) {
    if (size() == 1) return;
    const int next = (world.rank() + 1) % size(), before = (world.rank() + size() - 1) % size();
    for (size_t round = 0; round < 30; ++round) {
      std::vector<std::byte> got(round * 100);
      if (world.rank() == 0) world.send(next, pattern_bytes(0, round, got.size()));
      world.recv(before, got);
      if (world.rank() != 0) world.send(next, got);
      ASSERT_EQ(got, pattern_bytes(0, round, got.size()));
      if (round % 3 == 0) world.barrier();
    }
  });
}

TEST_P(Exchange, OnlyOtherRanksArePeers) {
  run_well([&](Group& world) {
    for (const int peer : {-1, world.rank(), world.size()}) {
      EXPECT_THROW(world.send(peer, {}), std::logic_error);
      EXPECT_THROW(world.recv(peer, {}), std::logic_error);
    }
    world.barrier();
  });
}

}  // namespace
}  // namespace shoal::comm
