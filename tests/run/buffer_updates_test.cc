#include "run/buffer_updates.h"

#include <gtest/gtest.h>

#include "comm/group.h"
#include "support/programs.h"

namespace shoal::run {
namespace {

// A batch norm's statistics after a step are those of its microbatches one after the other, whoever computed
// which.
TEST(BufferUpdatesTest, AreReplayedInTheOrderOfMicrobatches) {
  constexpr int64_t kMicrobatches = 5;
  const test::ProgramModel model = test::program_model(false, 1);
  const graph::BufferUpdate& update = model.graph.buffer_update;
  const size_t first = graph::outputs(model.graph).size() - update.observed.size();
  const auto observed = [&](int64_t m, size_t o) {
    at::Generator random = at::make_generator<at::CPUGeneratorImpl>(static_cast<uint64_t>(10 * m) + o);
    const graph::TensorType& type = model.graph.type(update.observed[o]);
    return at::rand(type.shape, random, type.dtype);
  };
  const auto after = [&](int devices) {
    std::map<std::string, at::Tensor> buffers;
    std::mutex mutex;
    const Layout layout{.dp = devices};
    World::threads(devices, [&](World& world) {
      test::ModelMemory kept(world, model, layout, kMicrobatches, world.device());
      auto& [group, ownership, memory] = kept;
      BufferUpdates updates(model.graph, world.device());
      for (int64_t m = kMicrobatches; m-- > 0;) {
        if (m % devices != world.rank()) continue;
        for (size_t o = 0; o < update.observed.size(); ++o) {
          EXPECT_TRUE(updates.observes(static_cast<int>(first + o)));
          updates.observe(m, static_cast<int>(first + o), observed(m, o));
        }
      }
      updates.apply(group, memory, kMicrobatches);
      const std::lock_guard lock(mutex);
      for (const std::string& name : update.buffers) {
        const at::Tensor value = memory.value(name, graph::kWhole).clone();
        if (const auto [entry, is_new] = buffers.try_emplace(name, value); !is_new) {
          EXPECT_TRUE(torch::equal(entry->second, value)) << name;
        }
      }
    });
    return buffers;
  };
  const auto alone = after(1);
  ASSERT_FALSE(alone.empty());
  EXPECT_FALSE(torch::equal(alone.at("norm.running_mean"), model.numbers.at("norm.running_mean")));
  for (const int devices : {2, 3})
    for (const auto& [name, value] : after(devices)) EXPECT_TRUE(torch::equal(value, alone.at(name))) << name;
}

TEST(BufferUpdatesTest, AMicrobatchThatNobodyObservedIsADefect) {
  const test::ProgramModel model = test::program_model(false, 1);
  World::threads(1, [&](World& world) {
    test::ModelMemory kept(world, model, {}, 1, world.device());
    auto& [group, ownership, memory] = kept;
    BufferUpdates updates(model.graph, world.device());
    EXPECT_THROW(updates.apply(group, memory, 1), JobError);
  });
}

}  // namespace
}  // namespace shoal::run
