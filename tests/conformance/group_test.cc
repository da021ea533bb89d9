// Groups over every transport: some ranks, in any order, any number of groups at a time, none of which knows
// of another.
#include "comm/group.h"

#include <chrono>
#include <optional>
#include <random>
#include <thread>

#include "base/text.h"
#include "comm/collectives.h"
#include "conformance/transports.h"

namespace shoal::comm {
namespace {

class Groups : public OnRanks {
 protected:
  // The ranks for which `wanted` holds.
  template <class Wanted>
  std::vector<int> ranks(Wanted wanted) const {
    std::vector<int> list;
    for (int rank = 0; rank < size(); ++rank)
      if (wanted(rank)) list.push_back(rank);
    return list;
  }
};
SHOAL_ON_RANKS(Groups, Transport::kThreads, Transport::kFetching, Transport::kShm);

void pause_ms(int ms) { std::this_thread::sleep_for(std::chrono::milliseconds(ms)); }

std::vector<std::byte> bytes_of(uint64_t number) {
  const auto bytes = std::as_bytes(std::span(&number, 1));
  return {bytes.begin(), bytes.end()};
}
uint64_t number_of(const std::vector<std::byte>& bytes) {
  uint64_t number = 0;
  std::memcpy(&number, bytes.data(), sizeof number);
  return number;
}

// Everyone's number, by member.
std::vector<uint64_t> gather(Group& group, uint64_t number) {
  std::vector<uint64_t> all(static_cast<size_t>(group.size()));
  all_gather(group, bytes_of(number), std::as_writable_bytes(std::span(all)));
  return all;
}

TEST_P(Groups, CountTheirMembersInTheOrderOfTheList) {
  run_well([&](Group& world) {
    std::vector<int> list = ranks([](int) { return true; });
    std::reverse(list.begin(), list.end());
    Group group(world.communicator(), list);
    EXPECT_EQ(group.size(), size());
    EXPECT_EQ(group.rank(), size() - 1 - world.rank());
    for (int member = 0; member < size(); ++member) EXPECT_EQ(group.world_rank(member), size() - 1 - member);
    const std::vector<uint64_t> all = gather(group, static_cast<uint64_t>(world.rank()));
    for (int member = 0; member < size(); ++member)
      EXPECT_EQ(all[member], static_cast<uint64_t>(size() - 1 - member));
    uint64_t number = static_cast<uint64_t>(world.rank());
    broadcast(group, 0, std::as_writable_bytes(std::span(&number, 1)));
    EXPECT_EQ(number, static_cast<uint64_t>(size() - 1));
  });
}

// Two halves of the world, each at its own pace; nobody of the one takes part in the other.
TEST_P(Groups, OfSomeRanksAskNothingOfTheOthers) {
  run_well([&](Group& world) {
    const bool odd = world.rank() % 2 == 1;
    if (odd) {
      pause_ms(20);
      Group group(world.communicator(), ranks([](int rank) { return rank % 2 == 1; }));
      for (int round = 0; round < 3; ++round) {
        const std::vector<uint64_t> all = gather(group, static_cast<uint64_t>(world.rank()));
        for (int member = 0; member < group.size(); ++member)
          ASSERT_EQ(all[member], static_cast<uint64_t>(2 * member + 1));
      }
    } else {
      for (int round = 0; round < 30; ++round) {  // and so many groups
        Group group(world.communicator(), ranks([](int rank) { return rank % 2 == 0; }));
        const std::vector<uint64_t> all = gather(group, static_cast<uint64_t>(world.rank() + round));
        for (int member = 0; member < group.size(); ++member)
          ASSERT_EQ(all[member], static_cast<uint64_t>(2 * member + round));
      }
    }
  });
}

TEST_P(Groups, OfGroups) {
  run_well([&](Group& world) {
    if (world.rank() % 2 == 1) return;
    Group even(world.communicator(), ranks([](int rank) { return rank % 2 == 0; }));
    std::vector<int> last(static_cast<size_t>((even.size() + 1) / 2));  // the second half, backwards
    for (size_t i = 0; i < last.size(); ++i) last[i] = even.size() - 1 - static_cast<int>(i);
    if (even.rank() < last.back()) return;
    Group nested(even, last);
    EXPECT_EQ(nested.world_rank(0), 2 * (even.size() - 1));
    const std::vector<uint64_t> all = gather(nested, static_cast<uint64_t>(world.rank()));
    for (int member = 0; member < nested.size(); ++member)
      EXPECT_EQ(all[member], static_cast<uint64_t>(nested.world_rank(member)));
  });
}

// A ring of pairs, each rank in two of them. All begin with the pair to their right, which gets on because nobody
// waits there; they wait in one order.
TEST_P(Groups, ThatOverlapBeginInAnyOrder) {
  if (size() < 3) return;
  run_well([&](Group& world) {
    struct Pair {
      Group group;
      float mine[2], sum[2];
    };
    std::vector<Pair> pairs;  // to the left of a rank lies its rank - 1
    int right = 0;
    for (int first = 0; first < size(); ++first) {
      const std::vector<int> list = {first, (first + 1) % size()};
      if (world.rank() != list[0] && world.rank() != list[1]) continue;
      if (world.rank() == list[0]) right = static_cast<int>(pairs.size());
      pairs.push_back({Group(world.communicator(), list), {}, {}});
      pairs.back().group.staging();  // made now, since making it waits
    }
    ASSERT_EQ(pairs.size(), 2u);
    for (int round = 0; round < 50; ++round) {
      for (Pair& pair : pairs)
        pair.mine[0] = static_cast<float>(world.rank()), pair.mine[1] = static_cast<float>(round);
      std::optional<Pending> pending[2];
      for (const int which : {right, 1 - right})
        pending[which].emplace(begin_all_reduce(pairs[which].group, DType::kF32,
                                                std::as_bytes(std::span(pairs[which].mine)),
                                                std::as_writable_bytes(std::span(pairs[which].sum))));
      for (const auto& begun : pending) begun->wait();
      for (Pair& pair : pairs) {
        ASSERT_EQ(pair.sum[0], static_cast<float>(pair.group.world_rank(0) + pair.group.world_rank(1)));
        ASSERT_EQ(pair.sum[1], static_cast<float>(2 * round));
      }
    }
  });
}

// Made, used and dropped at random, each rank dropping at moments of its own: counts begin at zero, and belong
// to their group alone.
TEST_P(Groups, ManyOfTheSameRanksAtRandom) {
  const unsigned seed = std::random_device{}();
  run_well([&](Group& world) {
    std::mt19937 shared_random(seed), own_random(seed + 1 + world.rank());
    struct Live {
      std::shared_ptr<Group> group;
      uint64_t posts = 0;
    };
    std::vector<Live> alive;   // by all ranks alike
    std::vector<Live> behind;  // let go of by the others, perhaps
    for (int round = 0; round < 300; ++round) {
      if (alive.size() < 2 || shared_random() % 4 == 0)
        alive.push_back({std::make_shared<Group>(world.communicator())});
      Live& live = alive[shared_random() % alive.size()];
      ASSERT_EQ(live.group->post(), ++live.posts) << "seed " << seed;
      for (int member = 0; member < size(); ++member) live.group->await(member, live.posts);
      if (shared_random() % 3 == 0) {
        const std::vector<uint64_t> all = gather(*live.group, live.posts);
        for (const uint64_t theirs : all) ASSERT_EQ(theirs, live.posts) << "seed " << seed;
      }
      if (alive.size() > 4) {
        const auto gone = alive.begin() + shared_random() % alive.size();
        if (own_random() % 2 == 0) behind.push_back(*gone);
        alive.erase(gone);
      }
      if (own_random() % 5 == 0) behind.clear();
    }
  });
}

TEST_P(Groups, AreGoneWithTheirLastMember) {
  run_well([&](Group& world) {
    for (int i = 0; i < (size() < 4 ? 4200 : 50); ++i) {  // more than may be alive
      Group group(world.communicator());
      ASSERT_EQ(group.post(), 1u);
      if (i % 50 == 0) group.barrier();
    }
    world.barrier();
  });
}

TEST_P(Groups, KeepWhatAMemberDidBeforeTheOthersCame) {
  if (size() == 1) return;
  run_well([&](Group& world) {
    if (world.rank() == 0) {
      Group group(world.communicator());
      group.post();
      group.send(1, bytes_of(7));
    } else {
      pause_ms(30);
      Group group(world.communicator());
      group.await(0, 1);
      std::vector<std::byte> got(8);
      if (world.rank() == 1) {
        group.recv(0, got);
        EXPECT_EQ(number_of(got), 7u);
      }
    }
    world.barrier();
  });
}

TEST_P(Groups, MessagesOfOneAreNotThoseOfAnother) {
  if (size() == 1) return;
  run_well([&](Group& world) {
    Group first(world.communicator()), second(world.communicator());
    if (world.rank() == 0) {
      first.send(1, pattern_bytes(0, 1, 200'001));  // more than is buffered, and not what is asked for first
      second.send(1, pattern_bytes(0, 2, 3));
      first.send(1, pattern_bytes(0, 3, 5));
      world.send(1, pattern_bytes(0, 4, 70'000));
    }
    if (world.rank() == 1) {
      const auto expect = [](Group& group, size_t salt, size_t count) {
        std::vector<std::byte> got(count);
        group.recv(0, got);
        EXPECT_TRUE(got == pattern_bytes(0, salt, count)) << salt;
      };
      expect(world, 4, 70'000);
      expect(second, 2, 3);
      expect(first, 1, 200'001);
      expect(first, 3, 5);
    }
    world.barrier();
  });
}

TEST_P(Groups, HaveOneCollectiveAtATime) {
  run_well([&](Group& world) {
    const auto refused = [&](const std::function<void()>& call) {
      try {
        call();
        ADD_FAILURE() << "no error";
      } catch (const std::logic_error& error) {
        EXPECT_EQ(error.what(), cat("rank ", world.rank(),
                                    " - group: a collective that has begun is not over; wait for it, or make "
                                    "another group"));
      }
    };
    gather(world, 1);
    std::vector<std::byte> mine = bytes_of(static_cast<uint64_t>(world.rank())), all(8 * size());
    const Pending pending = begin_all_gather(world, mine, all);
    refused([&] { world.barrier(); });
    refused([&] { world.window(8); });
    refused([&] { begin_all_to_all(world, {}, {}).wait(); });
    pending.wait();
    for (int member = 0; member < size(); ++member)
      EXPECT_EQ(number_of({all.begin() + 8 * member, all.begin() + 8 * member + 8}),
                static_cast<uint64_t>(member));
    world.barrier();
  });
}

TEST_P(Groups, OfOtherListsAreRefused) {
  run_well([&](Group& world) {
    const auto refused = [&](const std::vector<int>& list) {
      try {
        Group group(world.communicator(), list);
        ADD_FAILURE() << "no error";
      } catch (const std::logic_error& error) {
        EXPECT_EQ(error.what(), cat("rank ", world.rank(), " - group: got ranks [", join(list, ", "),
                                    "], want some of ", size(), ", each once, with this one"));
      }
    };
    refused({});
    refused({world.rank(), world.rank()});
    refused({world.rank(), size()});
    refused({-1, world.rank()});
    if (size() > 1) refused({(world.rank() + 1) % size()});
    EXPECT_THROW(Group(world, std::vector{size()}), std::logic_error);
  });
}

// Ranks 0 and 1 go on together, whatever becomes of the rest.
TEST_P(Groups, DoNotMindOtherRanksThatEnd) {
  if (size() < 3) return;
  run_well([&](Group& world) {
    if (world.rank() > 1) return;
    Group pair(world.communicator(), {1, 0});
    for (int round = 1; round <= 30; ++round) {
      pause_ms(1);
      pair.barrier();
      pair.post();
      pair.await(1 - pair.rank(), static_cast<uint64_t>(round));
    }
  });
}

TEST_P(Groups, AMemberThatEndsFailsThoseWhoWaitForIt) {
  if (size() < 3) return;
  const std::string sentence = run(transport(), size(), [&](Group& world) {
    if (world.rank() == 1) return;
    pause_ms(50);  // rank 1 ends first
    Group group(world.communicator(), ranks([&](int rank) { return rank < 2 || rank == world.rank(); }));
    if (world.rank() != 0) return;
    world.communicator().set_activity("step 4");
    group.barrier();
  });
  EXPECT_EQ(sentence, "rank 0, step 4 - barrier: rank 1 ended before");
}

TEST_P(Groups, ARankThatThrowsWakesThoseWhoWaitInAnyGroup) {
  if (size() < 3) return;
  const std::string want = "rank 0, step 2 - mm - shape: got 3, want 4";
  const std::string sentence = run(transport(), size(), [&](Group& world) {
    world.communicator().set_activity("step 2");
    if (world.rank() == 0) {
      pause_ms(30);
      throw InputError("mm - shape: got 3, want 4");
    }
    // Rank 0 has no part in it, and one that has never comes.
    Group group(world.communicator(), ranks([](int rank) { return rank > 0; }));
    const bool last = world.rank() == size() - 1;
    try {
      last ? group.await(0, 9) : group.barrier();
      ADD_FAILURE() << "no error";
    } catch (const JobError& error) {
      EXPECT_EQ(error.what(), want);
    }
  });
  EXPECT_EQ(sentence, "mm - shape: got 3, want 4");
}

}  // namespace
}  // namespace shoal::comm
