#include "lower/program.h"

#include <gtest/gtest.h>

#include <cmath>

#include "shoal/error.h"
#include "support/expect_error.h"

namespace shoal::lower {
namespace {

std::vector<Program> programs(int64_t microbatches, int size) {
  std::vector<Program> all;
  for (int rank = 0; rank < size; ++rank) all.push_back(lower_step(microbatches, size, rank));
  return all;
}

TEST(Program, EveryDivisionIsLegalAndFrugal) {
  for (int64_t m = 1; m <= 20; ++m) {
    for (int size = 1; size <= m; ++size) {
      const auto all = programs(m, size);
      program_check(all);
      for (const Program& program : all)
        EXPECT_LE(program.num_slots, 2 * static_cast<int>(std::ceil(std::log2(m))) + 1)
            << m << " on " << size;
    }
  }
}

TEST(Program, PrintsWhatADeviceDoes) {
  EXPECT_EQ(print(lower_step(6, 4, 1)),
            "program of rank 1 of 4, 6 microbatches\n"
            "  compute microbatch=2 -> slot 0 fp32\n"
            "  compute microbatch=3 +> slot 0\n"
            "  reduce_scatter gradients, roots [0,2)@0 [2,4)@1 [4,5)@2 [5,6)@3\n"
            "  all_reduce norm\n"
            "  update owned blocks\n"
            "  all_gather weights\n");
  EXPECT_EQ(print(lower_step(8, 1, 0)),
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

TEST(Program, MoreDevicesThanMicrobatchesAreRefused) {
  EXPECT_ERROR(lower_step(4, 5, 0), InputError,
               "layout - devices: got 5, want at most 4 (train.microbatches), since a microbatch is never "
               "divided; raise microbatches or use fewer devices");
}

TEST(ProgramCheck, FindsWhatIsWrong) {
  const auto good = programs(6, 2);
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

}  // namespace
}  // namespace shoal::lower
