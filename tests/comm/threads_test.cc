// What the threads transport and the world of one promise beyond the conformance suite.
#include <gtest/gtest.h>

#include <stdexcept>

#include "comm/collectives.h"
#include "comm/launch.h"
#include "shoal/error.h"

namespace shoal::comm {
namespace {

TEST(Single, IsAWorldOfOne) {
  const auto communicator = single();
  Group world(*communicator);
  EXPECT_EQ(world.rank(), 0);
  EXPECT_EQ(world.size(), 1);
  world.barrier();
  EXPECT_EQ(world.window(12)->mine().size(), 12u);
  const float mine[3] = {1, 2, 3};
  float sum[3];
  all_reduce(world, DType::kF32, std::as_bytes(std::span(mine)), std::as_writable_bytes(std::span(sum)));
  EXPECT_EQ(sum[2], 3);
  std::byte byte{5};
  broadcast(world, 0, {&byte, 1});
  EXPECT_EQ(byte, std::byte{5});
  EXPECT_THROW(world.send(0, {}), std::logic_error);
  EXPECT_THROW(world.recv(1, {}), std::logic_error);
  EXPECT_EQ(communicator->waiting(), "");
}

TEST(RunThreads, RethrowsTheFirstErrorAsItWas) {
  const auto run = [] {
    run_threads(3, [](Communicator& communicator) {
      Group world(communicator);
      communicator.set_activity("step 3: forward");
      if (world.rank() == 1) throw InputError("data.bin - size: got 3, want 4");
      try {
        world.barrier();
      } catch (const JobError& error) {
        EXPECT_STREQ(error.what(), "rank 1, step 3: forward - data.bin - size: got 3, want 4");
        throw;
      }
    });
  };
  try {
    run();
    FAIL() << "no error";
  } catch (const InputError& error) {
    EXPECT_STREQ(error.what(), "data.bin - size: got 3, want 4");
  }
}

}  // namespace
}  // namespace shoal::comm
