// How failure travels, on every transport: every waiter ends within a second with an error that names the
// rank that failed.
#include <atomic>
#include <chrono>
#include <thread>

#include "comm/collectives.h"
#include "conformance/transports.h"

namespace shoal::comm {
namespace {

using Clock = std::chrono::steady_clock;
void pause_ms(int ms) { std::this_thread::sleep_for(std::chrono::milliseconds(ms)); }

class Failures : public OnRanks {
 protected:
  // The waiter must end with `sentence`, in time, and go on failing.
  static void expect_failure(Group& world, const std::string& sentence,
                             const std::function<void()>& wait) {
    const auto begin = Clock::now();
    for (int again = 0; again < 2; ++again) try {
        again == 0 ? wait() : world.barrier();
        ADD_FAILURE() << "no error";
      } catch (const JobError& error) {
        EXPECT_EQ(error.what(), sentence);
      }
    EXPECT_LT(Clock::now() - begin, std::chrono::seconds(1));
  }
};
INSTANTIATE_TEST_SUITE_P(Transports, Failures,
                         ::testing::Combine(::testing::Values(Transport::kThreads, Transport::kShm),
                                            ::testing::Values(2, 3, 6)),
                         name_of);

TEST_P(Failures, ARankThatThrowsWakesEveryWaiter) {
  const Body bodies[] = {
      [](Group& world) { world.barrier(); },
      [](Group& world) {
        std::byte byte;
        world.recv(world.size() - 1, {&byte, 1});
      },
      [](Group& world) { world.window(100); },
      [](Group& world) { all_gather(world, {}); },
  };
  for (const Body& wait : bodies) {
    const std::string sentence = run(transport(), size(), [&](Group& world) {
      world.communicator().set_activity("step 1: forward");
      world.communicator().set_activity("step 2");
      if (world.rank() == world.size() - 1) {
        pause_ms(30);
        throw InputError("mm - shape: got 3, want 4");
      }
      expect_failure(world, "rank " + std::to_string(size() - 1) + ", step 2 - mm - shape: got 3, want 4",
                     [&] { wait(world); });
    });
    EXPECT_EQ(sentence, "mm - shape: got 3, want 4");
  }
}

TEST_P(Failures, ARankThatAbortsFailsTheJob) {
  const std::string sentence = run(transport(), size(), [&](Group& world) {
    if (world.rank() == 1) world.communicator().abort("out of patience");
    expect_failure(world, "rank 1 - out of patience", [&] {
      for (;;) world.barrier();
    });
  });
  EXPECT_EQ(sentence, "rank 1 - out of patience");
}

TEST_P(Failures, TheFirstOfSeveralCounts) {
  const std::string sentence = run(transport(), size(), [&](Group& world) {
    pause_ms(30 * world.rank());
    world.communicator().abort("reason of rank " + std::to_string(world.rank()));
    expect_failure(world, "rank 0 - reason of rank 0", [&] { world.barrier(); });
  });
  EXPECT_EQ(sentence, "rank 0 - reason of rank 0");
}

TEST_P(Failures, MessagesOfUnlikeSizesFailBothSides) {
  const std::string want = "rank 1, step 9 - recv from rank 0: got 3 bytes, want 4";
  const std::string sentence = run(transport(), size(), [&](Group& world) {
    world.communicator().set_activity("step 9");
    std::vector<std::byte> bytes(world.rank() == 0 ? 3 : 4);
    expect_failure(world, want, [&] {
      if (world.rank() == 0) world.send(1, bytes);
      if (world.rank() == 1) world.recv(0, bytes);
      world.barrier();
    });
  });
  EXPECT_EQ(sentence, want);
}

TEST_P(Failures, ARankThatEndsEarlyFailsThoseWhoWaitForIt) {
  for (const bool barrier : {true, false}) {
    const std::string sentence = run(transport(), size(), [&](Group& world) {
      std::byte byte{1};
      if (world.rank() == 1) world.send(0, {&byte, 1});
      if (world.rank() > 1) pause_ms(200);  // rank 1 ends first
      if (world.rank() != 0) return;
      world.recv(1, {&byte, 1});  // what it did before it ended counts
      world.communicator().set_activity("step 4");
      barrier ? world.barrier() : world.recv(1, {&byte, 1});
    });
    EXPECT_EQ(sentence, barrier ? "rank 0, step 4 - barrier: rank 1 ended before"
                                : "rank 0, step 4 - recv: rank 1 ended before");
  }
}

TEST_P(Failures, ASlowRankIsNoFailureAndIsNamed) {
  const std::string want = "barrier for 0 s: rank 1 (step 5: load)";
  const std::string sentence = run(transport(), size(), [&](Group& world) {
    world.communicator().set_activity("step 5: load");
    const auto window = world.window(sizeof(std::atomic<int>));
    const auto seen = [&] {
      return reinterpret_cast<const std::atomic<int>*>(window->read(0, 0, sizeof(int), {}));
    };
    EXPECT_EQ(world.communicator().waiting(), "");
    if (world.rank() == 0) {
      std::thread watchdog([&] {
        std::string told;
        for (int i = 0; i < 900 && told != want; ++i) pause_ms(1), told = world.communicator().waiting();
        EXPECT_EQ(told, want);
        reinterpret_cast<std::atomic<int>*>(window->mine().data())->store(1);
      });
      world.barrier();
      watchdog.join();
      EXPECT_EQ(world.communicator().waiting(), "");
    } else {
      // Slow until the watchdog has seen it.
      while (world.rank() == 1 && seen()->load() == 0) pause_ms(1);
      world.barrier();
    }
  });
  EXPECT_EQ(sentence, "");
}

}  // namespace
}  // namespace shoal::comm
