// Signals over every transport: what a rank did before it posted is seen by those who waited for the count,
// and who waits for a rank that is gone is told.
#include <atomic>
#include <chrono>
#include <random>
#include <thread>

#include "base/text.h"
#include "conformance/transports.h"

namespace shoal::comm {
namespace {

class Signals : public OnRanks {};
SHOAL_ON_RANKS(Signals, Transport::kThreads, Transport::kShm);

TEST_P(Signals, CountFromOneInEveryGroup) {
  run_well([&](Group& world) {
    Group second(world.communicator());
    for (uint64_t count = 1; count <= 3; ++count) {
      EXPECT_EQ(world.post(), count);
      if (count > 1) {
        EXPECT_EQ(second.post(), count - 1);
      }
    }
    for (int member = 0; member < size(); ++member) {  // itself, too
      world.await(member, 0);
      world.await(member, 3);
      second.await(member, 2);
    }
  });
}

TEST_P(Signals, MisuseIsRefused) {
  run_well([&](Group& world) {
    const auto refused = [](const std::function<void()>& call, const std::string& want) {
      try {
        call();
        ADD_FAILURE() << "no error";
      } catch (const std::logic_error& error) {
        EXPECT_EQ(error.what(), want);
      }
    };
    const int me = world.rank();
    const std::string place = cat("rank ", me, " - signal: got ");
    refused([&] { world.await(-1, 0); }, cat(place, "member -1, want one of ", size()));
    refused([&] { world.await(size(), 0); }, cat(place, "member ", size(), ", want one of ", size()));
    refused([&] { world.await(me, 1); }, cat(place, "itself at 0, want it at 1 before it waits"));
    world.barrier();
  });
}

// Each group writes and reads its windows at its own pace, without a barrier: the whole world, odd and even
// ranks, pairs, in an order drawn by all ranks alike.
TEST_P(Signals, OrderWritesAndReadsWithinGroups) {
  const unsigned seed = std::random_device{}();
  run_well([&](Group& world) {
    std::vector<Group> groups;
    std::vector<std::shared_ptr<Window>> windows;
    for (int kind = 0; kind < 3; ++kind) {
      const auto with = [&](int rank) {
        return kind == 0 || (kind == 1 ? rank % 2 == world.rank() % 2 : rank / 2 == world.rank() / 2);
      };
      std::vector<int> ranks;
      for (int rank = 0; rank < size(); ++rank)
        if (with(rank)) ranks.push_back(rank);
      groups.emplace_back(world.communicator(), ranks);
      windows.push_back(groups.back().window(sizeof(int)));
    }
    uint64_t counts[3] = {};
    std::mt19937 order(seed), pace(seed + 1 + world.rank());
    const auto meet = [&](int kind) {
      const uint64_t count = groups[kind].post();
      ASSERT_EQ(count, ++counts[kind]);
      for (int member = 0; member < groups[kind].size(); ++member) groups[kind].await(member, count);
    };
    for (int round = 1; round <= 200; ++round) {
      const int kind = static_cast<int>(order() % 3);
      if (pace() % 13 == 0) std::this_thread::sleep_for(std::chrono::microseconds(pace() % 200));
      *reinterpret_cast<int*>(windows[kind]->mine().data()) = round;
      meet(kind);
      for (int member = 0; member < groups[kind].size(); ++member) {
        const std::byte* const read = windows[kind]->read(member, 0, sizeof(int), {});
        ASSERT_EQ(*reinterpret_cast<const int*>(read), round) << "of member " << member << ", seed " << seed;
      }
      meet(kind);
    }
  });
}

// One writer ahead of its readers by at most as many slots as the ring has: post and await are one-sided.
TEST_P(Signals, AStreamOfSlots) {
  run_well([&](Group& world) {
    constexpr uint64_t kSlots = 3, kItems = 300;
    const auto window = world.window(kSlots * sizeof(uint64_t));
    if (world.rank() == 0) {
      for (uint64_t item = 0; item < kItems; ++item) {
        for (int rank = 1; rank < size() && item >= kSlots; ++rank) world.await(rank, item - kSlots + 1);
        reinterpret_cast<uint64_t*>(window->mine().data())[item % kSlots] = item * item;
        world.post();
      }
    } else {
      for (uint64_t item = 0; item < kItems; ++item) {
        world.await(0, item + 1);
        const std::byte* const slot = window->read(0, item % kSlots * sizeof(uint64_t), sizeof(uint64_t), {});
        ASSERT_EQ(*reinterpret_cast<const uint64_t*>(slot), item * item);
        world.post();
      }
    }
    world.barrier();
  });
}

TEST_P(Signals, ARankThatEndsBeforeTheCountFailsTheJob) {
  if (size() == 1) return;
  const auto begin = std::chrono::steady_clock::now();
  const std::string sentence = run(transport(), size(), [&](Group& world) {
    if (world.rank() == 1) world.post();
    if (world.rank() != 0) return;
    world.await(1, 1);  // what it did before it ended counts
    world.communicator().set_activity("step 4");
    world.await(1, 2);
  });
  EXPECT_EQ(sentence, "rank 0, step 4 - signal: rank 1 ended before");
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(1));
}

TEST_P(Signals, ARankThatThrowsWakesThoseWhoAwaitAnyOther) {
  if (size() == 1) return;
  const std::string want = "rank 0, step 2 - mm - shape: got 3, want 4";
  const std::string sentence = run(transport(), size(), [&](Group& world) {
    world.communicator().set_activity("step 2");
    if (world.rank() == 0) {
      std::this_thread::sleep_for(std::chrono::milliseconds(30));
      throw InputError("mm - shape: got 3, want 4");
    }
    const auto begin = std::chrono::steady_clock::now();
    const int other = size() - 1 - (world.rank() == size() - 1);  // for two ranks: the one that throws
    const std::function<void()> calls[] = {[&] { world.await(other, 1); }, [&] { world.post(); },
                                           [&] { world.await(world.rank(), 0); }};
    for (const auto& call : calls) {  // and later ones, too
      try {
        call();
        ADD_FAILURE() << "no error";
      } catch (const JobError& error) {
        EXPECT_EQ(error.what(), want);
      }
    }
    EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(1));
  });
  EXPECT_EQ(sentence, "mm - shape: got 3, want 4");
}

TEST_P(Signals, ASlowRankIsNamed) {
  if (size() == 1) return;
  const std::string want = "signal for 0 s: rank 1 (step 5: load)";
  run_well([&](Group& world) {
    world.communicator().set_activity("step 5: load");
    const auto window = world.window(sizeof(std::atomic<int>));
    if (world.rank() == 0) {
      std::thread watchdog([&] {
        std::string told;
        for (int i = 0; i < 900 && told != want; ++i) {
          std::this_thread::sleep_for(std::chrono::milliseconds(1));
          told = world.communicator().waiting();
        }
        EXPECT_EQ(told, want);
        reinterpret_cast<std::atomic<int>*>(window->mine().data())->store(1);
      });
      world.await(1, 1);
      watchdog.join();
      EXPECT_EQ(world.communicator().waiting(), "");
    } else if (world.rank() == 1) {  // slow until the watchdog has seen it
      const auto* const seen = reinterpret_cast<const std::atomic<int>*>(window->read(0, 0, sizeof(int), {}));
      while (seen->load() == 0) std::this_thread::sleep_for(std::chrono::milliseconds(1));
      world.post();
    }
    world.barrier();
  });
}

}  // namespace
}  // namespace shoal::comm
