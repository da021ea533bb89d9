#include "lower/program.h"

#include <gtest/gtest.h>

#include <cmath>

#include "shoal/error.h"
#include "support/expect_error.h"

namespace shoal::lower {
namespace {

std::vector<Program> programs(int64_t microbatches, const Layout& layout) {
  std::vector<Program> all;
  for (int rank = 0; rank < layout.devices(); ++rank) all.push_back(lower_step(microbatches, layout, rank));
  return all;
}

TEST(Program, EveryDivisionIsLegalAndFrugal) {
  for (int64_t m = 1; m <= 20; ++m) {
    for (int64_t dp = 1; dp <= m; ++dp) {
      for (const Layout& layout : {Layout{.dp = dp}, Layout{.dp = dp, .tp = 2, .zero = 0},
                                   Layout{.dp = dp, .zero = 2}, Layout{.dp = dp, .tp = 2, .zero = 3},
                                   Layout{.dp = dp, .servers = 1}, Layout{.dp = dp, .tp = 2, .servers = 3}}) {
        const auto all = programs(m, layout);
        program_check(all);
        for (const Program& program : all) {
          EXPECT_LE(program.num_slots, 2 * static_cast<int>(std::ceil(std::log2(m))) + 1)
              << m << " on " << dp << ", zero " << layout.zero;
          for (int64_t microbatch : program.microbatches())
            EXPECT_EQ(program.teller(microbatch), program.rank) << "each rank reads the loss that it made";
        }
      }
    }
  }
}

TEST(Program, PrintsWhatADeviceDoes) {
  EXPECT_EQ(print(lower_step(6, {.dp = 4}, 1)),
            "program of rank 1 of 4, 6 microbatches\n"
            "  compute microbatch=2 -> slot 0 fp32\n"
            "  compute microbatch=3 +> slot 0\n"
            "  reduce_scatter gradients, roots [0,2)@0 [2,4)@1 [4,5)@2 [5,6)@3\n"
            "  all_reduce norm\n"
            "  update owned blocks\n"
            "  all_gather weights\n");
  EXPECT_EQ(print(lower_step(8, {.dp = 1}, 0)),
            "program of rank 0 of 1, 8 microbatches\n"
            "  compute microbatch=0 -> slot 0 fp32\n"
            "  compute microbatch=1 +> slot 0\n"
            "  compute microbatch=2 -> slot 1 fp32\n"
            "  compute microbatch=3 +> slot 1\n"
            "  add slot 1 +> slot 0\n"
            "  compute microbatch=4 -> slot 1 fp32\n"
            "  compute microbatch=5 +> slot 1\n"
            "  compute microbatch=6 -> slot 2 fp32\n"
            "  compute microbatch=7 +> slot 2\n"
            "  add slot 2 +> slot 1\n"
            "  add slot 1 +> slot 0\n"
            "  reduce_scatter gradients, roots [0,8)@0\n"
            "  all_reduce norm\n"
            "  update owned blocks\n"
            "  all_gather weights\n");
}

// zero = 0: what the others copy is a sum where a root lies, so every root is fp32.
TEST(Program, ReplicatedOptimizersGatherGradients) {
  EXPECT_EQ(print(lower_step(4, {.dp = 4, .zero = 0}, 2)),
            "program of rank 2 of 4, 4 microbatches\n"
            "  compute microbatch=2 -> slot 0 fp32\n"
            "  reduce_scatter gradients, roots [0,1)@0 [1,2)@1 [2,3)@2 [3,4)@3\n"
            "  all_reduce norm\n"
            "  all_gather gradients\n"
            "  update owned blocks\n");
}

TEST(Program, GradientsThatAreDividedGoInRounds) {
  EXPECT_EQ(
      print(lower_step(7, {.dp = 3, .zero = 2}, 1)),
      "program of rank 1 of 3, 7 microbatches\n"
      "  compute microbatch=1, reduce_scatter gradients of [0,3), [0,2) -> slot 0, [2,3) -> slot 1\n"
      "  compute microbatch=4, reduce_scatter gradients of [3,6), [0,4) +> slot 0 with slot 1, [4,6) -> "
      "slot 1\n"
      "  compute nothing, reduce_scatter gradients of [6,7), [0,7) +> slot 0 with slot 1\n"
      "  reduce_scatter done, slot 0\n"
      "  all_reduce norm\n"
      "  update owned blocks\n"
      "  all_gather weights\n");
}

TEST(Program, ServersComputeNothing) {
  EXPECT_EQ(print(lower_step(3, {.dp = 2, .servers = 2}, 3)),
            "program of rank 3 of 4, 3 microbatches\n"
            "  reduce_scatter gradients, roots [0,2)@0 [2,3)@1\n"
            "  all_reduce norm\n"
            "  update owned blocks\n"
            "  all_gather weights\n");
}

TEST(Program, MoreDevicesThanMicrobatchesAreRefused) {
  EXPECT_ERROR(lower_step(4, {.dp = 5}, 0), InputError,
               "layout - dp: got 5, want at most 4 (train.microbatches), since a microbatch is never "
               "divided; raise microbatches or use fewer devices");
}

TEST(ProgramCheck, FindsWhatIsWrong) {
  const auto good = programs(6, {.dp = 2});
  auto bad = good;
  std::swap(bad[0].instructions[0], bad[0].instructions[1]);
  EXPECT_ERROR(program_check(bad), JobError,
               "program of rank 0 - instruction 0: microbatch 1 is added out of the tree's order");
  bad = good;
  bad[1].instructions[0].microbatch = 0;
  EXPECT_ERROR(program_check(bad), JobError,
               "program of rank 1 - instruction 0: microbatch 0 is computed twice");
  bad = good;
  bad[1].instructions.pop_back();
  EXPECT_ERROR(program_check(bad), JobError,
               "program of rank 1 - instruction 6: its collectives differ from rank 0's");
  bad = good;
  bad[0].roots.pop_back();
  EXPECT_ERROR(program_check(bad), JobError, "program of rank 0 - instruction 7: the roots leave a hole");
  bad = good;
  bad[0].instructions[1].accumulate = false;
  EXPECT_ERROR(program_check(bad), JobError,
               "program of rank 0 - instruction 1: slot 0 is overwritten before it is read");
}

TEST(ProgramCheck, FindsWhatIsWrongInRounds) {
  const auto good = programs(6, {.dp = 4, .zero = 2});
  auto bad = good;
  bad[3].instructions[1].microbatch = 5;
  EXPECT_ERROR(program_check(bad), JobError,
               "program of rank 3 - instruction 1: microbatch 5 is computed twice");
  bad = good;
  bad[1].instructions[1].microbatch = lower::kIdle;
  EXPECT_ERROR(program_check(bad), JobError, "program - microbatches: got 5 computed, want 6");
  bad = good;
  bad[0].instructions[1].sums[0].from.clear();
  EXPECT_ERROR(program_check(bad), JobError,
               "program of rank 0 - instruction 1: the sum over [0,6) leaves a hole");
  bad = good;
  bad[2].instructions[1].sums[0].from[0].slot = 1;
  EXPECT_ERROR(program_check(bad), JobError,
               "program of rank 2 - instruction 1: slot 1 is added out of the tree's order");
  bad = good;
  bad[2].instructions[1].round.end = 7;
  EXPECT_ERROR(program_check(bad), JobError,
               "program of rank 2 - instruction 1: the round's sums leave a microbatch out");
  bad = good;
  std::swap(bad[2].instructions[0], bad[2].instructions[1]);
  EXPECT_ERROR(program_check(bad), JobError,
               "program of rank 2 - instruction 0: slot 0 is added out of the tree's order");
}

TEST(ProgramCheck, AServerThatComputesIsFound) {
  auto bad = programs(2, {.dp = 2, .servers = 1});
  bad[2].instructions.insert(bad[2].instructions.begin(),
                             {.kind = Instruction::Kind::kCompute, .microbatch = 0, .slot = 0});
  EXPECT_ERROR(program_check(bad), JobError,
               "program of rank 2 - instruction 0: a server computes microbatch 0");
}

}  // namespace
}  // namespace shoal::lower
