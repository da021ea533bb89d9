#include "run/bucket_ring.h"

#include <gtest/gtest.h>

#include <cstring>
#include <random>
#include <thread>

#include "comm/group.h"
#include "support/programs.h"

namespace shoal::run {
namespace {

// Devices fill buckets with numbers that say whose they are and read all of them, at paces of their own; one of
// them has nothing in every second bucket.
TEST(BucketRing, EveryDeviceReadsWhatEachHasShown) {
  constexpr int kDevices = 3, kCount = 40, kLag = lower::kBuckets / 2;
  const test::ProgramModel model = test::program_model(true, 1);
  const Layout layout{.dp = kDevices, .zero = 2};
  World::threads(kDevices, [&](World& world) {
    test::ModelMemory kept(world, model, layout, 3, world.device());
    auto& [group, ownership, memory] = kept;
    Waits waits;
    BucketRing ring(group, memory, waits);
    std::mt19937 random(static_cast<unsigned>(world.rank()));
    const auto number = [](int device, int bucket) { return static_cast<float>(1000 * device + bucket); };
    const auto pause = [&] { std::this_thread::sleep_for(std::chrono::microseconds(random() % 300)); };
    const auto sum = [&](int bucket) {
      const int active = bucket % 2 == 0 ? kDevices : kDevices - 1;
      ring.sum_begun(active, [&] {
        for (int device = 0; device < active; ++device) {
          float got = 0;
          std::memcpy(&got, ring.read(device, 64, sizeof got), sizeof got);
          EXPECT_EQ(got, number(device, bucket)) << "on " << world.rank();
          pause();
        }
      });
    };
    for (int bucket = 0; bucket < kCount; ++bucket) {
      pause();
      if (bucket % 2 == 0 || world.rank() < kDevices - 1)
        ring.begin([&](std::byte* place) {
          const float mine = number(world.rank(), bucket);
          std::memcpy(place + 64, &mine, sizeof mine);
        });
      else
        ring.begin({});
      if (bucket >= kLag) sum(bucket - kLag);
    }
    for (int bucket = kCount - kLag; bucket < kCount; ++bucket) sum(bucket);
  });
}

}  // namespace
}  // namespace shoal::run
