#include "run/device_memory.h"

#include <gtest/gtest.h>

#include "comm/group.h"
#include "support/programs.h"

namespace shoal::run {
namespace {

// In every layout: each device has, or can gather, the numbers that were installed; what is owned covers them.
TEST(DeviceMemoryTest, KeepsAndGathersWhatWasInstalled) {
  for (const int64_t chunks : {1, 2}) {
    const test::ProgramModel model = test::program_model(true, chunks);
    for (const Layout& layout : chunks == 1 ? test::layouts_of_every_kind() : test::divided_layouts()) {
      SCOPED_TRACE(print(layout));
      World::threads(static_cast<int>(layout.devices()), [&](World& world) {
        test::ModelMemory kept(world, model, layout, 3, world.device());
        auto& [group, ownership, memory] = kept;
        group.barrier();
        for (const auto& [name, value] : model.numbers) {
          EXPECT_TRUE(torch::equal(memory.whole(name), value)) << name;
          EXPECT_TRUE(torch::equal(memory.current(name), value)) << name;
          for (const size_t u : model.storage.units_of(name)) {
            const lower::Unit& unit = model.storage.units[u];
            const at::Tensor kept = memory.value(name, unit.part);
            if (kept.defined()) {
              EXPECT_TRUE(torch::equal(kept, memory.gather(u))) << name;
              EXPECT_EQ(reinterpret_cast<uintptr_t>(kept.data_ptr()) % 64, 0u);
            }
            for (OwnedShard& owned : memory.owned_of(u))
              EXPECT_TRUE(torch::equal(owned.master, memory.gather(u).view({-1}).slice(
                                                         0, owned.shard.elements.begin, owned.shard.elements.end)));
          }
        }
        group.barrier();
      });
    }
  }
}

// Masters that change reach everybody: published, then gathered.
TEST(DeviceMemoryTest, WeightsFollowTheirMasters) {
  const test::ProgramModel model = test::program_model(true, 1, Precision::kBF16);
  for (const Layout& layout : {Layout{.dp = 3}, Layout{.dp = 2, .zero = 3}, Layout{.dp = 2, .servers = 2}}) {
    SCOPED_TRACE(print(layout));
    World::threads(static_cast<int>(layout.devices()), [&](World& world) {
      test::ModelMemory parts(world, model, layout, 3, world.device());
      auto& [group, ownership, memory] = parts;
      group.barrier();
      for (OwnedShard& owned : memory.owned()) owned.master.add_(1);
      memory.publish_masters();
      group.barrier();
      memory.gather_weights();
      group.barrier();
      for (const auto& [name, value] : model.numbers) {
        if (model.storage.units_of(name).empty()) continue;
        EXPECT_TRUE(torch::equal(memory.whole(name), (value + 1).to(torch::kBFloat16))) << name;
      }
      group.barrier();
    });
  }
}

TEST(DeviceMemoryTest, BuffersAreInstalledWhereTheyLie) {
  const test::ProgramModel model = test::program_model(false, 1);
  World::threads(1, [&](World& world) {
    test::ModelMemory parts(world, model, {}, 1, world.device());
    run::DeviceMemory& memory = parts.memory;
    const std::string name = "norm.running_mean";
    memory.install(name, model.numbers.at(name), torch::kFloat);
    const at::Tensor kept = memory.value(name, graph::kWhole);
    memory.install(name, model.numbers.at(name) + 2, torch::kFloat);
    EXPECT_TRUE(kept.is_same(memory.value(name, graph::kWhole)) ||
                kept.data_ptr() == memory.value(name, graph::kWhole).data_ptr());
    EXPECT_TRUE(torch::equal(kept, model.numbers.at(name) + 2));
    EXPECT_FALSE(memory.value("nothing", graph::kWhole).defined());
  });
}

}  // namespace
}  // namespace shoal::run
