// Schedules as data: what each costs when all passes are alike, what they keep, and grids that cannot be.
#include "lower/pipeline_schedule.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "shoal/error.h"
#include "support/expect_error.h"

namespace shoal::lower {
namespace {

Layout pipeline(int64_t pp, Schedule schedule, int64_t stages_per_device = 1) {
  return {.pp = pp, .schedule = schedule, .stages_per_device = stages_per_device};
}

double length(const Layout& layout, int64_t n) { return simulate(schedule_pipeline(layout, n), layout, n).length; }

// Idle time of every device, with F = I = W = 1: (pp - 1) (F + I), a W less each than where all of backward is done before
// anything of it is sent, over the stages of a device where there are several; and (pp - 1) (F + I - W) where weight
// gradients fill the rest (Qi et al. 2023, table 1).
TEST(PipelineSchedule, IdlesAsItsClosedFormSays) {
  for (const int64_t pp : {2, 3, 4, 8})
    for (const int64_t n : {2 * pp, 4 * pp}) {
      const double work = 3 * static_cast<double>(n), others = static_cast<double>(pp - 1);
      EXPECT_EQ(length(pipeline(pp, Schedule::kGPipe), n), work + others * 2) << pp << " " << n;
      EXPECT_EQ(length(pipeline(pp, Schedule::k1F1B), n), work + others * 2) << pp << " " << n;
      EXPECT_EQ(length(pipeline(pp, Schedule::kZeroBubble), n), work + others) << pp << " " << n;
      EXPECT_EQ(length(pipeline(pp, Schedule::kZeroBubbleH2), n), work + others) << pp << " " << n;
      // Two stages on each device: a microbatch takes twice as many passes, and the wait for the first is one of them.
      EXPECT_EQ(length(pipeline(pp, Schedule::kZeroBubbleV, 2), n), 2 * work + others) << pp << " " << n;
      for (const int64_t stages : {2, 3})
        EXPECT_EQ(length(pipeline(pp, Schedule::kInterleaved1F1B, stages), n),
                  work * static_cast<double>(stages) + others * 2)
            << pp << " " << n << " " << stages;
    }
}

TEST(PipelineSchedule, HoldsAsManyMicrobatchesAsItsBoundSays) {
  for (const int64_t pp : {2, 4})
    for (const int64_t n : {int64_t{1}, pp, 4 * pp})
      for (int64_t d = 0; d < pp; ++d) {
        const auto held = [&](Schedule schedule) {
          return in_flight(schedule_pipeline(pipeline(pp, schedule), n)[static_cast<size_t>(d)]);
        };
        EXPECT_EQ(held(Schedule::kGPipe), n);
        EXPECT_EQ(held(Schedule::k1F1B), std::min(n, pp - d));
        EXPECT_EQ(held(Schedule::kZeroBubble), std::min(n, pp));
        EXPECT_LE(held(Schedule::kZeroBubbleH2), std::min(n, 2 * pp - 1));
        EXPECT_LE(in_flight(schedule_pipeline(pipeline(pp, Schedule::kZeroBubbleV, 2), n)[static_cast<size_t>(d)]),
                  std::min(n, pp + 1));
      }
}

// Fewer microbatches than devices, and numbers that no group divides.
TEST(PipelineSchedule, IsWholeForAnyNumbers) {
  for (const auto& [schedule, stages] : {std::pair(Schedule::kGPipe, 1), std::pair(Schedule::k1F1B, 1),
                                         std::pair(Schedule::kInterleaved1F1B, 3), std::pair(Schedule::kZeroBubble, 1),
                                         std::pair(Schedule::kZeroBubbleH2, 1), std::pair(Schedule::kZeroBubbleV, 2)})
    for (const int64_t pp : {2, 3, 5})
      for (int64_t n = 1; n <= 11; ++n) {
        const Layout layout = pipeline(pp, schedule, stages);
        const Grid grid = schedule_pipeline(layout, n);
        EXPECT_GT(simulate(grid, layout, n).length, 0);
        EXPECT_EQ(parse_grid(print(grid)), grid);
      }
}

// With passes that cost unlike, a zero-bubble schedule is made for them: never longer than the one for equal costs.
TEST(PipelineSchedule, GoesByWhatPassesCost) {
  for (const auto& [schedule, stages] : {std::pair(Schedule::kZeroBubble, 1), std::pair(Schedule::kZeroBubbleV, 2)})
    for (const int64_t pp : {2, 4})
      for (const int64_t n : {4, 8}) {
        const Layout layout = pipeline(pp, schedule, stages);
        // No gradients of inputs leave the first stage; the last has a head.
        const TurnCost cost = [&](const Turn& turn) {
          const double head = turn.stage == layout.stages() - 1 ? 1.3 : 1;
          return head * (turn.stage > 0                              ? unit_cost(turn)
                         : turn.pass == Turn::Pass::kInputGradient  ? 0
                         : turn.pass == Turn::Pass::kWeightGradient ? 2
                                                                     : unit_cost(turn));
        };
        EXPECT_LE(simulate(schedule_pipeline(layout, n, cost), layout, n, cost).length,
                  simulate(schedule_pipeline(layout, n), layout, n, cost).length)
            << print(layout) << " " << n;
      }
}

TEST(PipelineSchedule, RefusesGridsThatCannotBe) {
  const Layout layout = pipeline(2, Schedule::k1F1B);
  const auto refused = [&](const std::string& grid, const std::string& sentence) {
    EXPECT_ERROR(simulate(parse_grid(grid), layout, 2), InputError, "pipeline - schedule: " + sentence);
  };
  EXPECT_EQ(simulate(parse_grid("0F0 0F1 0B0 0B1\n1F0 1B0 1F1 1B1"), layout, 2).length, 8);
  refused("0F0 0F1 0B0 0B1", "got 1 lines, want 2, one for each device");
  refused("0F0 0B0 0F1 0B1\n1F0 1F1 1B0 1B1", "device 0 waits for ever:\n0F0 [0B0] 0F1 0B1\n1F0 1F1 1B0 1B1\n");
  refused("0F0 0F1 0B0 0B1\n1F0 1B0 1F1", "stage 1 has no one backward of microbatch 1:\n0F0 0F1 0B0 0B1\n1F0 1B0 1F1 []\n");
  refused("0F0 0F1 0B0 0B1\n1F0 1F0 1B0 1F1 1B1", "a pass comes twice:\n0F0 0F1 0B0 0B1\n1F0 [1F0] 1B0 1F1 1B1\n");
  refused("0F0 1F1 0B0 0B1\n1F0 1B0 1F1 1B1", "device 0 does not have stage 1:\n0F0 [1F1] 0B0 0B1\n1F0 1B0 1F1 1B1\n");
  refused("0F0 0F1 0F2 0B0 0B1\n1F0 1B0 1F1 1B1", "there is no microbatch 2:\n0F0 0F1 [0F2] 0B0 0B1\n1F0 1B0 1F1 1B1\n");
  refused("0F0 0F1 0B1 0B0; 1F0 1F1 1B1 1B0",
          "a pass takes microbatches in order, and 0 is next:\n0F0 0F1 [0B1] 0B0\n1F0 1F1 1B1 1B0\n");
  EXPECT_ERROR(parse_grid(" ; "), InputError,
               "pipeline - schedule: got \" ; \", want a line of passes for each device, as in 0F0 0B0");
  EXPECT_GT(simulate(parse_grid("0F0 0F1 0I0 0W0 0I1 0W1; 1F0 1I0 1F1 1I1 1W0 1W1"), layout, 2).length, 0);
  const Layout v = pipeline(2, Schedule::kZeroBubbleV, 2);
  EXPECT_ERROR(simulate(parse_grid("0F0 3F0 3I0 3W0 0I0 0W0 0F1 3F1 3I1 0I1 3W1 0W1; 1F0 2F0 2B0 1B0 1F1 2F1 2B1 1B1"), v, 2),
               InputError,
               "pipeline - schedule: device 0 takes microbatch 1 through its passes in another order than microbatch 0:\n"
               "0F0 3F0 3I0 3W0 0I0 0W0 0F1 3F1 3I1 [0I1] 3W1 0W1\n1F0 2F0 2B0 1B0 1F1 2F1 2B1 1B1\n");
  EXPECT_ERROR(parse_grid("0F0 forward"), InputError,
               "pipeline - schedule: got \"forward\", want a stage, F, B, I or W, and a microbatch, as in 0F1");
}

}  // namespace
}  // namespace shoal::lower
