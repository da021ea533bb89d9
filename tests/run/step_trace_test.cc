// What is written down of a step: every instruction, in order, and as much time as the step says it took.
#include "run/step_trace.h"

#include <gtest/gtest.h>

#include <map>

#include "base/text.h"
#include "mesh/role.h"
#include "support/programs.h"

namespace shoal::run {
namespace {

// Instructions do not overlap; waits lie within theirs, one after the other. The sums are those of the
// outcome.
void expect_whole(const StepTrace& trace, const lower::Program& program, StepOutcome outcome) {
  const std::vector<TracedInstruction>& traced = trace.instructions();
  ASSERT_EQ(traced.size(), program.instructions.size());
  std::map<Part, double> sums;
  Clock::time_point now;
  for (size_t i = 0; i < traced.size(); ++i) {
    EXPECT_EQ(traced[i].text, print(program.instructions[i], program));
    EXPECT_LE(now, traced[i].begin);
    now = traced[i].begin;
    double waited = 0;
    for (const Wait& wait : traced[i].waits) {
      EXPECT_LE(now, wait.begin);
      EXPECT_LE(wait.begin, wait.end);
      EXPECT_TRUE(wait.rank == Wait::kAll ||
                  (wait.rank != program.rank && wait.rank < program.layout.devices()));
      now = wait.end;
      waited += seconds(wait.end - wait.begin);
    }
    EXPECT_LE(now, traced[i].end);
    now = traced[i].end;
    sums[Part::kWait] += waited;
    sums[traced[i].part] += seconds(traced[i].end - traced[i].begin) - waited;
  }
  for (const Part part : {Part::kCompute, Part::kReduce, Part::kUpdate, Part::kGather, Part::kWait})
    EXPECT_NEAR(sums[part], outcome.seconds.of(part), 1e-9) << name_of(part);
}

// Nobody waits for input gradients of the words' stage: its backward is all weight gradients.
bool is_empty(const lower::Turn& turn) {
  return turn.pass == lower::Turn::Pass::kInputGradient && turn.stage == 0;
}

// In a pipeline the passes that ran are those of the schedule; elsewhere there are none.
void expect_passes(const StepTrace& trace, const lower::Program& program) {
  std::vector<std::string> want, got;
  const std::vector<int64_t> mine = program.microbatches();
  if (program.layout.pp > 1) {
    const lower::Grid grid = lower::schedule_pipeline(program.layout, std::ssize(mine));
    const auto place = static_cast<size_t>(mesh::role_of(program.layout, program.rank).pp);
    for (const lower::Turn& turn : grid.at(place)) {
      const auto expect = [&](lower::Turn::Pass pass) {
        want.push_back(lower::print({pass, turn.stage, mine[static_cast<size_t>(turn.microbatch)]}));
      };
      if (turn.pass == lower::Turn::Pass::kBackward && turn.stage > 0) {  // what the stage before waits for goes first
        expect(lower::Turn::Pass::kInputGradient);
        expect(lower::Turn::Pass::kWeightGradient);
      } else if (!is_empty(turn)) {
        expect(turn.pass);
      }
    }
  }
  for (const TracedInstruction& traced : trace.instructions()) {
    if (!traced.turn) continue;
    EXPECT_EQ(traced.stage, traced.turn->stage);
    EXPECT_EQ(traced.microbatch, traced.turn->microbatch);
    const std::string turn = lower::print(*traced.turn);
    if (got.empty() || got.back() != turn) got.push_back(turn);  // exchanges cut a pass in several segments
  }
  EXPECT_EQ(got, want);
}

void expect_traced(const test::ProgramModel& model, const std::vector<Layout>& layouts) {
  for (const Layout& layout : layouts) {
    SCOPED_TRACE(print(layout));
    const std::vector<lower::Program> programs = test::programs_of(model, layout, 4);
    int64_t count = 0;
    const test::Ran traced =
        test::run_programs(model, programs, 2, kernels::cpu(),
                           [&](int rank, const StepTrace& trace, const StepOutcome& outcome) {
                             SCOPED_TRACE(cat("rank ", rank));
                             const lower::Program& program = programs[static_cast<size_t>(rank)];
                             expect_whole(trace, program, outcome);
                             expect_passes(trace, program);
                             ++count;
                           });
    EXPECT_EQ(count, 2 * layout.devices());
    EXPECT_EQ(test::first_difference(test::run_programs(model, programs), traced), "");
  }
}

TEST(StepTrace, HasEveryInstructionInEveryLayout) {
  expect_traced(test::program_model(true, 1),
                {{},
                 {.dp = 2, .zero = 0},
                 {.dp = 2, .zero = 3},
                 {.dp = 2, .servers = 1},
                 {.pp = 2},
                 {.dp = 2, .zero = 0, .pp = 2, .schedule = Schedule::kZeroBubble}});
  expect_traced(test::program_model(true, 2), {{.tp = 2}, {.tp = 2, .pp = 2}});
}

// Who waits for a peer's values says so: without it a tensor-parallel device would seem to compute.
TEST(StepTrace, NamesWhomAnExchangeWaitsFor) {
  const test::ProgramModel model = test::program_model(true, 2);
  test::run_programs(model, test::programs_of(model, {.tp = 2}, 1), 1, kernels::cpu(),
                     [](int rank, const StepTrace& trace, const StepOutcome&) {
                       int64_t exchanges = 0;
                       for (const TracedInstruction& traced : trace.instructions()) {
                         if (!traced.text.starts_with("exchange")) continue;
                         ++exchanges;
                         ASSERT_EQ(traced.waits.size(), 1U);
                         EXPECT_EQ(traced.waits[0].rank, 1 - rank);
                       }
                       EXPECT_GT(exchanges, 0);
                     });
}

}  // namespace
}  // namespace shoal::run
