// The collectives over every transport, against the obvious loops.
#include "comm/collectives.h"

#include <bit>
#include <random>
#include <thread>

#include "base/blocks.h"
#include "conformance/transports.h"

namespace shoal::comm {
namespace {

class Collectives : public OnRanks {};
SHOAL_ON_RANKS(Collectives, Transport::kThreads, Transport::kFetching, Transport::kShm);

// Sizes around the staging window's halves (512 KiB), too.
const size_t kSizes[] = {0, 1, 7, 1000, 524'288, 1'048'577};

TEST_P(Collectives, AllGatherOfUnlikeSizes) {
  run_well([&](Group& world) {
    for (const size_t bytes : kSizes) {
      const auto bytes_of = [&](int rank) { return rank == 1 ? size_t{3} : bytes / (rank + 1); };
      const auto all = all_gather(world, pattern_bytes(world.rank(), bytes, bytes_of(world.rank())));
      ASSERT_EQ(all.size(), static_cast<size_t>(size()));
      for (int rank = 0; rank < size(); ++rank)
        ASSERT_TRUE(all[rank] == pattern_bytes(rank, bytes, bytes_of(rank))) << rank << " of " << bytes;
    }
  });
}

TEST_P(Collectives, BroadcastFromEveryRoot) {
  run_well([&](Group& world) {
    for (const size_t bytes : kSizes) {
      const int root = static_cast<int>(bytes % size());
      std::vector<std::byte> data = pattern_bytes(world.rank(), 1, bytes);
      broadcast(world, root, data);
      ASSERT_TRUE(data == pattern_bytes(root, 1, bytes)) << bytes;
    }
    for (int root = 0; root < size(); ++root) {
      std::vector<std::byte> data = pattern_bytes(world.rank(), 2, 100);
      broadcast(world, root, data);
      ASSERT_EQ(data, pattern_bytes(root, 2, 100));
    }
    EXPECT_THROW(broadcast(world, size(), {}), std::logic_error);
  });
}

TEST_P(Collectives, AllToAll) {
  run_well([&](Group& world) {
    for (const size_t part : {size_t{0}, size_t{1}, size_t{1000}, size_t{150'001}}) {
      std::vector<std::byte> send, receive(part * size()), want;
      for (int rank = 0; rank < size(); ++rank) {
        const auto to = pattern_bytes(world.rank(), rank, part),
                   from = pattern_bytes(rank, world.rank(), part);
        send.insert(send.end(), to.begin(), to.end());
        want.insert(want.end(), from.begin(), from.end());
      }
      all_to_all(world, send, receive);
      ASSERT_TRUE(receive == want) << part;
    }
    std::vector<std::byte> odd(size() + 1);
    if (size() > 1) {
      EXPECT_THROW(all_to_all(world, odd, odd), std::logic_error);
    }
  });
}

// Any float, by rank and element.
float leaf(int rank, size_t i) {
  const uint32_t mixed =
      static_cast<uint32_t>((i + 1) * 2'654'435'761u) ^ static_cast<uint32_t>((rank + 7) * 40'503u);
  return std::ldexp(static_cast<float>(static_cast<int32_t>(mixed * 747'796'405u)),
                    -20 - static_cast<int>(mixed % 9));
}

// Elements of any dtype.
template <class T>
T element(int rank, size_t i) {
  if constexpr (std::is_same_v<T, uint16_t>)
    return static_cast<uint16_t>(std::bit_cast<uint32_t>(leaf(rank, i)) >> 16);
  else
    return static_cast<T>(leaf(rank, i)) / static_cast<T>(3);
}
template <class T, class Sum>
Sum tree_of(Range ranks, size_t i) {
  if (ranks.size() == 1) {
    const T value = element<T>(static_cast<int>(ranks.begin), i);
    if constexpr (std::is_same_v<T, uint16_t>)
      return std::bit_cast<float>(uint32_t{value} << 16);
    else
      return value;
  }
  int64_t half = 1;
  while (half * 2 < ranks.size()) half *= 2;
  return tree_of<T, Sum>({ranks.begin, ranks.begin + half}, i) +
         tree_of<T, Sum>({ranks.begin + half, ranks.end}, i);
}

template <class T, class Sum>
void check_sums(Group& world, DType dtype) {
  for (const size_t each : {size_t{0}, size_t{1}, size_t{1000}, size_t{70'001} / static_cast<size_t>(world.size())}) {
    const size_t count = each * world.size();
    std::vector<T> mine(count);
    for (size_t i = 0; i < count; ++i) mine[i] = element<T>(world.rank(), i);
    std::vector<Sum> sum(count), part(each);
    all_reduce(world, dtype, std::as_bytes(std::span(mine)), std::as_writable_bytes(std::span(sum)));
    reduce_scatter(world, dtype, std::as_bytes(std::span(mine)), std::as_writable_bytes(std::span(part)));
    for (size_t i = 0; i < count; i += count > 10'000 ? 7 : 1)
      ASSERT_EQ(sum[i], (tree_of<T, Sum>({0, world.size()}, i))) << i << " of " << count;
    for (size_t i = 0; i < each; ++i) ASSERT_EQ(part[i], sum[world.rank() * each + i]) << i << " of " << each;
  }
}

TEST_P(Collectives, SumsAreTreeSums) {
  run_well([&](Group& world) {
    check_sums<float, float>(world, DType::kF32);
    check_sums<uint16_t, float>(world, DType::kBF16);
    check_sums<double, double>(world, DType::kF64);
    std::vector<std::byte> three(3), four(4);
    EXPECT_THROW(all_reduce(world, DType::kF32, three, four), std::logic_error);
    EXPECT_THROW(all_reduce(world, DType::kF32, four, three), std::logic_error);
    EXPECT_THROW(all_gather(world, three, std::span(four).first(0)), std::logic_error);
  });
}

// What was begun is over only after wait; meanwhile what was given stays.
TEST_P(Collectives, BegunAndWaitedFor) {
  run_well([&](Group& world) {
    const int next = (world.rank() + 1) % size(), before = (world.rank() + size() - 1) % size();
    for (const size_t bytes : {size_t{5}, size_t{1'200'000} / static_cast<size_t>(size())}) {
      const auto mine = pattern_bytes(world.rank(), 3, bytes);
      std::vector<std::byte> all(bytes * size()), root = pattern_bytes(world.rank(), 4, bytes);
      const Pending gathered = begin_all_gather(world, mine, all);
      if (world.rank() == 0) std::this_thread::yield();
      gathered.wait();
      begin_broadcast(world, size() - 1, root).wait();
      EXPECT_TRUE(root == pattern_bytes(size() - 1, 4, bytes));
      std::vector<std::byte> send = all, receive(all.size());
      begin_all_to_all(world, send, receive).wait();
      for (int rank = 0; rank < size(); ++rank) {
        const auto part = [&](const std::vector<std::byte>& of) {
          return std::vector(of.begin() + rank * bytes, of.begin() + (rank + 1) * bytes);
        };
        EXPECT_TRUE(part(all) == pattern_bytes(rank, 3, bytes)) << rank;
        EXPECT_TRUE(part(receive) == pattern_bytes(world.rank(), 3, bytes)) << rank;
      }
      if (size() == 1) continue;
      std::vector<std::byte> got(bytes);
      const Pending received = begin_recv(world, before, got);
      begin_send(world, next, mine).wait();
      received.wait();
      EXPECT_TRUE(got == pattern_bytes(before, 3, bytes));
    }
  });
}

// Collectives of all kinds one after the other: what one leaves must not disturb the next.
TEST_P(Collectives, InAnyOrder) {
  run_well([&](Group& world) {
    std::mt19937 random(5);
    for (int round = 0; round < 60; ++round) {
      const size_t count = random() % 1000;
      switch (random() % 4) {
        case 0: {
          std::vector<float> mine(count), sum(count);
          for (size_t i = 0; i < count; ++i) mine[i] = element<float>(world.rank(), i);
          all_reduce(world, DType::kF32, std::as_bytes(std::span(mine)), std::as_writable_bytes(std::span(sum)));
          for (size_t i = 0; i < count; ++i) ASSERT_EQ(sum[i], (tree_of<float, float>({0, size()}, i)));
          break;
        }
        case 1: {
          const int root = static_cast<int>(count % size());
          auto data = pattern_bytes(world.rank(), round, count);
          broadcast(world, root, data);
          ASSERT_EQ(data, pattern_bytes(root, round, count));
          break;
        }
        case 2: {
          const auto all = all_gather(world, pattern_bytes(world.rank(), round, count + world.rank()));
          for (int rank = 0; rank < size(); ++rank)
            ASSERT_EQ(all[rank], pattern_bytes(rank, round, count + rank));
          break;
        }
        default: {
          std::vector<std::byte> send(size(), static_cast<std::byte>(world.rank())), receive(size());
          all_to_all(world, send, receive);
          for (int rank = 0; rank < size(); ++rank) ASSERT_EQ(receive[rank], static_cast<std::byte>(rank));
        }
      }
    }
  });
}

}  // namespace
}  // namespace shoal::comm
