#include "lower/gather_plan.h"

#include <gtest/gtest.h>

namespace shoal::lower {
namespace {

// A linear layer and an embedding: forward reads both, backward the first, through the same transpose.
const char* const kGraph =
    "%0 = parameter \"weight\" : f32[3,4]\n"
    "%1 = parameter \"table\" : f32[9,4]\n"
    "%2 = parameter \"unused\" : f32[2]\n"
    "%3 = batch \"0\" : i64[2]\n"
    "%4 = aten::embedding(%1, %3) : f32[2,4] @forward\n"
    "%5 = aten::t(%0) : f32[4,3]{1,4} @forward\n"
    "%6 = aten::mm(%4, %5) : f32[2,3] @forward\n"
    "%7 = aten::sum(%6, none) : f32[] @forward\n"
    "%8 = aten::ones_like(%6, none, none, none, none, none) : f32[2,3] @backward\n"
    "%9 = aten::t(%5) : f32[3,4] @backward\n"
    "%10 = aten::mm(%8, %9) : f32[2,4] @backward\n"
    "result %7\n"
    "gradient \"table\" %10\n";

TEST(GatherPlan, OnceForEachPhaseWithViewsMadeAnew) {
  const GatherPlan plan = plan_gathers(graph::parse(kGraph));
  ASSERT_EQ(plan.uses.size(), 3u);
  const auto expect = [&](size_t index, size_t input, size_t first, size_t last) {
    EXPECT_EQ(plan.uses[index].input, input);
    EXPECT_EQ(plan.uses[index].first, first);
    EXPECT_EQ(plan.uses[index].last, last);
  };
  expect(0, 0, 2, 2);
  expect(1, 0, 6, 6);
  expect(2, 1, 0, 0);
  EXPECT_EQ(plan.views[0], (std::vector<size_t>{1, 5}));
  EXPECT_TRUE(plan.views[1].empty());
}

// A view that leaves the graph is a value like any other.
TEST(GatherPlan, AViewThatIsAResultStaysANode) {
  const GatherPlan plan = plan_gathers(graph::parse(
      "%0 = parameter \"w\" : f32[3,4]\n%1 = aten::t(%0) : f32[4,3]{1,4} @forward\nresult %1\n"));
  EXPECT_TRUE(plan.views[0].empty());
  ASSERT_EQ(plan.uses.size(), 1u);
  EXPECT_EQ(plan.uses[0].first, 0u);
}

}  // namespace
}  // namespace shoal::lower
