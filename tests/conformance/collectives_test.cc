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

float tree(Range ranks, size_t i) {
  if (ranks.size() == 1) return leaf(static_cast<int>(ranks.begin), i);
  int64_t half = 1;
  while (half * 2 < ranks.size()) half *= 2;
  return tree({ranks.begin, ranks.begin + half}, i) + tree({ranks.begin + half, ranks.end}, i);
}

struct Case {
  size_t offset, count;
};
// Fewer elements than ranks, odd counts, more than one pass (65,536) per rank.
const Case kCases[] = {{0, 0}, {0, 1}, {64, 2}, {4, 5}, {0, 1001}, {128, 65'537}, {0, 200'001}};
constexpr float kUntouched = -1.5f;

// Runs `collective` on a window with a margin of untouched floats around, and hands over what each element
// became.
template <class Collective, class Want>
void check_window(Group& world, const Case& c, Collective collective, Want want) {
  const size_t first = c.offset / sizeof(float), floats = first + c.count + 3;
  const auto window = world.window(floats * sizeof(float));
  float* const mine = reinterpret_cast<float*>(window->mine().data());
  for (size_t i = 0; i < floats; ++i)
    mine[i] = i < first || i >= first + c.count ? kUntouched : leaf(world.rank(), i - first);
  collective(world, *window, c.offset, c.count);
  for (size_t i = 0; i < floats; ++i) {
    const float wanted = i < first || i >= first + c.count ? kUntouched : want(i - first);
    ASSERT_EQ(std::bit_cast<uint32_t>(mine[i]), std::bit_cast<uint32_t>(wanted))
        << "element " << i << " of " << c.count;
    mine[i] = 0;  // at once: nobody may still read it
  }
}

// A collective in place, in one go or begun and waited for.
using InPlace = void (*)(Group&, Window&, size_t, size_t);
using BeginInPlace = Pending (*)(Group&, Window&, size_t, size_t);
template <class Want>
void check_both(Group& world, const Case& c, InPlace whole, BeginInPlace begin, Want want) {
  check_window(world, c, whole, want);
  check_window(
      world, c,
      [&](Group& group, Window& window, size_t offset, size_t count) {
        begin(group, window, offset, count).wait();
      },
      want);
}

int owner(const Group& world, size_t count, size_t i) {
  for (int rank = 0;; ++rank)
    if (static_cast<int64_t>(i) < share(static_cast<int64_t>(count), world.size(), rank).end) return rank;
}

// Of private memory: elements of any dtype.
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
void check_private_sums(Group& world, DType dtype) {
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

TEST_P(Collectives, SumsOfPrivateMemoryAreTreeSums) {
  run_well([&](Group& world) {
    check_private_sums<float, float>(world, DType::kF32);
    check_private_sums<uint16_t, float>(world, DType::kBF16);
    check_private_sums<double, double>(world, DType::kF64);
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

TEST_P(Collectives, AllReduceIsTheTreeSum) {
  run_well([&](Group& world) {
    for (const Case& c : kCases)
      check_both(world, c, all_reduce, begin_all_reduce, [&](size_t i) { return tree({0, size()}, i); });
  });
}

TEST_P(Collectives, ReduceScatterLeavesTheRest) {
  run_well([&](Group& world) {
    for (const Case& c : kCases)
      check_both(world, c, reduce_scatter, begin_reduce_scatter, [&](size_t i) {
        return owner(world, c.count, i) == world.rank() ? tree({0, size()}, i) : leaf(world.rank(), i);
      });
  });
}

TEST_P(Collectives, AllGatherOfShares) {
  run_well([&](Group& world) {
    for (const Case& c : kCases)
      check_both(world, c, all_gather, begin_all_gather, [&](size_t i) { return leaf(owner(world, c.count, i), i); });
  });
}

// Collectives of all kinds one after the other: what one leaves must not disturb the next.
TEST_P(Collectives, InAnyOrder) {
  run_well([&](Group& world) {
    std::mt19937 random(5);
    const auto window = world.window(4000);
    float* const mine = reinterpret_cast<float*>(window->mine().data());
    for (int round = 0; round < 60; ++round) {
      const size_t count = random() % 1000;
      switch (random() % 4) {
        case 0: {
          for (size_t i = 0; i < count; ++i) mine[i] = leaf(world.rank(), i);
          all_reduce(world, *window, 0, count);
          for (size_t i = 0; i < count; ++i) ASSERT_EQ(mine[i], tree({0, size()}, i));
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
