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

TEST_P(Signals, CountByChannelFromOne) {
  run_well([&](Communicator& world) {
    for (uint64_t count = 1; count <= 3; ++count)
      for (int channel = 0; channel < Communicator::kChannels; ++channel)
        EXPECT_EQ(world.post(channel), count) << channel;
    for (int rank = 0; rank < size(); ++rank) {  // itself, too
      world.await(rank, 2, 0);
      world.await(rank, 2, 3);
    }
  });
}

TEST_P(Signals, MisuseIsRefused) {
  run_well([&](Communicator& world) {
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
    refused([&] { world.post(-1); }, cat(place, "channel -1, want one of 4"));
    refused([&] { world.await(me, 4, 0); }, cat(place, "channel 4, want one of 4"));
    refused([&] { world.await(-1, 0, 0); }, cat(place, "rank -1, want one of ", size()));
    refused([&] { world.await(size(), 0, 0); }, cat(place, "rank ", size(), ", want one of ", size()));
    refused([&] { world.await(me, 0, 1); }, cat(place, "itself at 0, want it at 1 before it waits"));
    world.barrier();
  });
}

// Each group writes and reads its windows at its own pace, without a barrier of the world: the whole world on
// channel 0, odd and even ranks on channel 1, pairs on channel 2, in an order drawn by the groups' ranks
// alike.
TEST_P(Signals, OrderWritesAndReadsWithinGroups) {
  const unsigned seed = std::random_device{}();
  run_well([&](Communicator& world) {
    const auto together = [&](int channel, int a, int b) {
      return channel == 0 || (channel == 1 ? a % 2 == b % 2 : a / 2 == b / 2);
    };
    std::shared_ptr<Window> windows[3];
    for (auto& window : windows) window = world.window(sizeof(int));
    uint64_t counts[3] = {};
    std::mt19937 order(seed), pace(seed + 1 + world.rank());
    const auto meet = [&](int channel) {
      const uint64_t count = world.post(channel);
      ASSERT_EQ(count, ++counts[channel]);
      for (int rank = 0; rank < size(); ++rank)
        if (together(channel, rank, world.rank())) world.await(rank, channel, count);
    };
    for (int round = 1; round <= 200; ++round) {
      const int channel = static_cast<int>(order() % 3);
      if (pace() % 13 == 0) std::this_thread::sleep_for(std::chrono::microseconds(pace() % 200));
      *reinterpret_cast<int*>(windows[channel]->mine().data()) = round;
      meet(channel);
      for (int rank = 0; rank < size(); ++rank)
        if (together(channel, rank, world.rank())) {
          const std::byte* const read = windows[channel]->read(rank, 0, sizeof(int), {});
          ASSERT_EQ(*reinterpret_cast<const int*>(read), round) << "of rank " << rank << ", seed " << seed;
        }
      meet(channel);
    }
  });
}

// One writer ahead of its readers by at most as many slots as the ring has: post and await are one-sided.
TEST_P(Signals, AStreamOfSlots) {
  run_well([&](Communicator& world) {
    constexpr uint64_t kSlots = 3, kItems = 300;
    const auto window = world.window(kSlots * sizeof(uint64_t));
    if (world.rank() == 0) {
      for (uint64_t item = 0; item < kItems; ++item) {
        for (int rank = 1; rank < size() && item >= kSlots; ++rank) world.await(rank, 1, item - kSlots + 1);
        reinterpret_cast<uint64_t*>(window->mine().data())[item % kSlots] = item * item;
        world.post(0);
      }
    } else {
      for (uint64_t item = 0; item < kItems; ++item) {
        world.await(0, 0, item + 1);
        const std::byte* const slot = window->read(0, item % kSlots * sizeof(uint64_t), sizeof(uint64_t), {});
        ASSERT_EQ(*reinterpret_cast<const uint64_t*>(slot), item * item);
        world.post(1);
      }
    }
    world.barrier();
  });
}

TEST_P(Signals, ARankThatEndsBeforeTheCountFailsTheJob) {
  if (size() == 1) return;
  const auto begin = std::chrono::steady_clock::now();
  const std::string sentence = run(transport(), size(), [&](Communicator& world) {
    if (world.rank() == 1) world.post(3);
    if (world.rank() != 0) return;
    world.await(1, 3, 1);  // what it did before it ended counts
    world.set_activity("step 4");
    world.await(1, 3, 2);
  });
  EXPECT_EQ(sentence, "rank 0, step 4 - signal: rank 1 ended before");
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(1));
}

TEST_P(Signals, ARankThatThrowsWakesThoseWhoAwaitAnyOther) {
  if (size() == 1) return;
  const std::string want = "rank 0, step 2 - mm - shape: got 3, want 4";
  const std::string sentence = run(transport(), size(), [&](Communicator& world) {
    world.set_activity("step 2");
    if (world.rank() == 0) {
      std::this_thread::sleep_for(std::chrono::milliseconds(30));
      throw InputError("mm - shape: got 3, want 4");
    }
    const auto begin = std::chrono::steady_clock::now();
    const int other = size() - 1 - (world.rank() == size() - 1);  // for two ranks: the one that throws
    const std::function<void()> calls[] = {[&] { world.await(other, 0, 1); }, [&] { world.post(0); },
                                           [&] { world.await(world.rank(), 0, 0); }};
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
  run_well([&](Communicator& world) {
    world.set_activity("step 5: load");
    const auto window = world.window(sizeof(std::atomic<int>));
    if (world.rank() == 0) {
      std::thread watchdog([&] {
        std::string told;
        for (int i = 0; i < 900 && told != want; ++i) {
          std::this_thread::sleep_for(std::chrono::milliseconds(1));
          told = world.waiting();
        }
        EXPECT_EQ(told, want);
        reinterpret_cast<std::atomic<int>*>(window->mine().data())->store(1);
      });
      world.await(1, 0, 1);
      watchdog.join();
      EXPECT_EQ(world.waiting(), "");
    } else if (world.rank() == 1) {  // slow until the watchdog has seen it
      const auto* const seen = reinterpret_cast<const std::atomic<int>*>(window->read(0, 0, sizeof(int), {}));
      while (seen->load() == 0) std::this_thread::sleep_for(std::chrono::milliseconds(1));
      world.post(0);
    }
    world.barrier();
  });
}

}  // namespace
}  // namespace shoal::comm
