#include "lower/memory.h"

#include <gtest/gtest.h>

#include "support/programs.h"

namespace shoal::lower {
namespace {

// What all devices together keep of weights, gradients and optimizer state in each layout: the closed forms of
// ZeRO (Rajbhandari et al. 2020, section 5), up to alignment.
TEST(Memory, IsThatOfTheClosedForms) {
  const test::ProgramModel model = test::program_model(true, 1);
  int64_t elements = 0;
  for (const Unit& unit : model.storage.units) elements += unit.numel;
  const auto of_all = [&](const Layout& layout) {
    const Ownership ownership(model.storage, layout);
    Memory sum;
    for (const Program& program : lower_training(model.graph, ownership, 2, 0, {.optimizer_states = 2}).programs) {
      const Memory memory = memory_of(program);
      sum.weights += memory.weights;
      sum.gradients += memory.gradients;
      sum.optimizer += memory.optimizer;
      EXPECT_GT(memory.activations, 0);
    }
    return sum;
  };
  const auto expect = [&](const Layout& layout, double weights, double gradients, double optimizer) {
    SCOPED_TRACE(print(layout));
    const Memory memory = of_all(layout);
    const auto one = static_cast<double>(4 * elements);
    EXPECT_NEAR(static_cast<double>(memory.weights) / one, weights, 0.01);
    EXPECT_NEAR(static_cast<double>(memory.gradients) / one, gradients, 0.01);
    EXPECT_NEAR(static_cast<double>(memory.optimizer) / one, optimizer, 0.01);
  };
  expect({}, 1, 1, 2);
  expect({.dp = 2, .zero = 0}, 2, 2, 4);
  expect({.dp = 2}, 2, 2, 2);
  expect({.dp = 2, .zero = 2}, 2, 1, 2);
  expect({.dp = 2, .zero = 3}, 1, 1, 2);
}

TEST(Memory, ReadsAsASentence) {
  EXPECT_EQ(print(Memory{.weights = 1024, .gradients = 2048, .activations = 10}),
            "weights 1.0 KiB, gradients 2.0 KiB, optimizer 0 B, activations 10 B, buffers 0 B, windows 0 B: 3.0 KiB");
}

}  // namespace
}  // namespace shoal::lower
