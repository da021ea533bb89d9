// What only processes can show: memory that stays bounded, and ranks that are killed.
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <chrono>
#include <thread>

#include "comm/shm/heap.h"
#include "conformance/transports.h"

namespace shoal::comm {
namespace {

using Clock = std::chrono::steady_clock;

size_t used_bytes(const SharedMemory& memory) {
  struct stat status;
  EXPECT_EQ(fstat(memory.descriptor(), &status), 0);
  return static_cast<size_t>(status.st_blocks) * 512;
}

TEST(Shm, DroppedWindowsAreFreed) {
  const auto memory = SharedMemory::create(2);
  constexpr size_t kBytes = 8 << 20;
  EXPECT_EQ(run_processes(*memory,
                          [&](Group& world) {
                            std::shared_ptr<Window> last;
                            for (int i = 0; i < 60; ++i) {
                              const auto window = world.window(kBytes);
                              std::memset(window->mine().data(), 1, kBytes);
                              world.barrier();
                              window->read(1 - world.rank(), 0, kBytes, {});
                              last = window;  // two alive at a time
                              ASSERT_LT(used_bytes(*memory), 5 * 2 * kBytes) << i;
                            }
                          })
                .sentence,
            "");
  // Freed by the last to let go, though nobody asks for another window.
  EXPECT_LT(used_bytes(*memory), kBytes);
}

TEST(Shm, TheHeapReusesGapsOnceAllHaveLetGo) {
  const auto memory = SharedMemory::create(2);
  Heap heap(memory, 1);
  const Block a = heap.allocate(5000, 2), b = heap.allocate(100, 2), c = heap.allocate(1, 2);
  EXPECT_EQ(a.offset, 2 * kHeapStride);
  EXPECT_EQ(b.offset, a.offset + 8192);
  EXPECT_EQ(c.offset, b.offset + 4096);
  EXPECT_EQ(heap.allocate(0, 2).bytes, 0u);
  release(*memory, a);
  EXPECT_EQ(heap.allocate(100, 2).offset, c.offset + 4096);  // a is still held by one
  release(*memory, a);
  EXPECT_EQ(heap.allocate(8193, 2).offset, c.offset + 8192);  // too large for the gap
  EXPECT_EQ(heap.allocate(8192, 2).offset, a.offset);
  release(*memory, b), release(*memory, b);
  EXPECT_EQ(heap.allocate(4096, 2).offset, b.offset);
}

TEST(Shm, TheHeapHasLimits) {
  const auto memory = SharedMemory::create(1);
  Heap heap(memory, 0);
  try {
    heap.allocate(uint64_t{1} << 45, 1);
    ADD_FAILURE() << "no error";
  } catch (const JobError& error) {
    EXPECT_TRUE(
        std::string(error.what()).starts_with("rank 0 - window: got 32.0 TiB, want at most the machine's "))
        << error.what();
  }
  for (size_t i = 0; i < kMaxWindows; ++i) heap.allocate(1, 1);
  try {
    heap.allocate(1, 1);
    ADD_FAILURE() << "no error";
  } catch (const JobError& error) {
    EXPECT_STREQ(error.what(),
                 "rank 0 - window: got 1024 alive already, want fewer; drop those no longer used");
  }
}

TEST(Shm, DroppedGroupsAreFreed) {
  const auto memory = SharedMemory::create(1);
  const auto communicator = shm_communicator(memory, 0);
  const size_t before = used_bytes(*memory);
  {
    std::vector<Group> groups;
    for (size_t i = 0; i < kMaxGroups; ++i) groups.emplace_back(*communicator).post();
    EXPECT_GE(used_bytes(*memory), before + kMaxGroups * 4096);
    try {
      Group one_more(*communicator);
      ADD_FAILURE() << "no error";
    } catch (const JobError& error) {
      EXPECT_STREQ(error.what(),
                   "rank 0 - group: got 4096 alive already, want fewer; drop those no longer used");
    }
  }
  EXPECT_LE(used_bytes(*memory), before + (100 << 10));
  EXPECT_EQ(Group(*communicator).post(), 1u);
}

TEST(Shm, ARankIsTakenOnce) {
  const auto memory = SharedMemory::create(1);
  const auto world = shm_communicator(memory, 0);
  EXPECT_THROW(shm_communicator(memory, 0), JobError);
}

TEST(SharedTextTest, KeepsWhatFitsAndForgetsWhatWas) {
  const auto memory = SharedMemory::create(1);
  auto& text = memory->state(0).activity;
  EXPECT_EQ(text.get(), "");
  for (size_t length : {300, 255, 254, 17, 16, 15, 8, 7, 1, 0, 100}) {
    text.set(std::string(length, 'x'));
    EXPECT_EQ(text.get(), std::string(std::min<size_t>(length, 255), 'x'));
  }
}

// Rank 1 is killed while it does `doing`; the others, who wait for it in `waiting`, must all say so at once.
void expect_death_is_told(const Body& doing, const Body& waiting) {
  const auto memory = SharedMemory::create(4);
  const auto begin = Clock::now();
  const Ending ending = run_processes(*memory, [&](Group& world) {
    world.communicator().set_activity("step 12: reduce_scatter gradients");
    if (world.rank() == 1) {
      std::thread([] {
        std::this_thread::sleep_for(std::chrono::milliseconds(100));
        kill(getpid(), SIGKILL);
      }).detach();
      doing(world);
      pause();
    }
    if (world.rank() == 2) pause();  // deaf: has to be killed, a second later
    try {
      waiting(world);
      ADD_FAILURE() << "no error";
    } catch (const JobError& error) {
      EXPECT_STREQ(error.what(), "rank 1, step 12: reduce_scatter gradients - killed by signal 9 (Killed)");
      EXPECT_LT(Clock::now() - begin, std::chrono::seconds(1));
    }
  });
  EXPECT_EQ(ending.exit_code, 1);
  EXPECT_EQ(ending.sentence, "rank 1, step 12: reduce_scatter gradients - killed by signal 9 (Killed)");
  EXPECT_LT(Clock::now() - begin, std::chrono::seconds(2));
}

const Body kWork = [](Group&) {};
const Body kBarrier = [](Group& world) { world.barrier(); };
// Rank 1 sends to the deaf one, so that it gets stuck.
const Body kSend = [](Group& world) {
  world.send(world.rank() == 1 ? 2 : 1, std::vector<std::byte>(1 << 20));
};
const Body kRecv = [](Group& world) {
  std::byte byte;
  world.recv(world.rank() == 1 ? 2 : 1, {&byte, 1});
};

const Body kAwait = [](Group& world) { world.await(world.rank() == 1 ? 2 : 1, 1); };

TEST(Killed, InABarrierWhileOthersWaitInIt) { expect_death_is_told(kBarrier, kBarrier); }
TEST(Killed, InASendWhileOthersWaitToReceive) { expect_death_is_told(kSend, kRecv); }
TEST(Killed, InARecvWhileOthersWaitToSend) { expect_death_is_told(kRecv, kSend); }
TEST(Killed, AtWorkWhileOthersWaitInABarrier) { expect_death_is_told(kWork, kBarrier); }
TEST(Killed, InAnAwaitWhileOthersAwaitIt) { expect_death_is_told(kAwait, kAwait); }

}  // namespace
}  // namespace shoal::comm
