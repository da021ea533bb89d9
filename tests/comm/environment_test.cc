// What the environment says of a process: a rank of ours, one of many of another launcher, or neither.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <string>
#include <vector>

#include "base/text.h"
#include "comm/comm.h"
#include "comm/launch.h"
#include "shoal/error.h"

namespace shoal::comm {
namespace {

// The environment of this process, for the time of one expectation.
class Environment : public ::testing::Test {
 protected:
  static constexpr const char* kOthers[] = {
      "WORLD_SIZE",           "RANK",      "LOCAL_RANK",   "OMPI_COMM_WORLD_SIZE",
      "MV2_COMM_WORLD_SIZE",  "PMI_SIZE",  "SLURM_NTASKS", "SLURM_PROCID",
      "SLURM_STEP_NUM_TASKS", "PMIX_RANK", "ENVIRONMENT"};
  void SetUp() override { TearDown(); }
  void TearDown() override {
    for (const char* const name : {"SHOAL_RANK", "SHOAL_WORLD_SIZE", "SHOAL_MEMORY"}) unsetenv(name);
    for (const char* const name : kOthers) unsetenv(name);
  }
  using Variables = std::vector<std::pair<const char*, const char*>>;
  /// What from_environment and launch say where these are set; "" when a process may work alone.
  std::string said_with(const Variables& variables) {
    for (const auto& [name, value] : variables) setenv(name, value, 1);
    std::string said;
    try {
      from_environment();
    } catch (const InputError& error) {
      said = error.what();
    }
    try {
      check_started_once();
      EXPECT_EQ(said, "");
    } catch (const InputError& error) {
      EXPECT_EQ(said, error.what());
      EXPECT_THROW(launch({2, {"true"}, "x"}), InputError);
    }
    TearDown();
    return said;
  }
  static void expect(const char* rank, const char* size, const std::string& memory,
                     const std::string& sentence) {
    setenv("SHOAL_RANK", rank, 1);
    setenv("SHOAL_WORLD_SIZE", size, 1);
    setenv("SHOAL_MEMORY", memory.c_str(), 1);
    try {
      from_environment();
      ADD_FAILURE() << "no error";
    } catch (const InputError& error) {
      EXPECT_EQ(error.what(), sentence);
    }
    EXPECT_TRUE(is_launched());
    EXPECT_FALSE(report_failure("x", 1));
  }
};

TEST_F(Environment, NobodyLaunchedThisProcess) {
  EXPECT_FALSE(is_launched());
  EXPECT_FALSE(report_failure("x", 1));
  EXPECT_EQ(from_environment()->size(), 1);
}

TEST_F(Environment, OneOfManyThatAnotherLauncherStartedIsRefused) {
  const auto sentence = [](const char* variable, const char* many, const char* n, const char* launcher,
                           const char* unset) {
    return cat(
        variable, " - environment: got ", many, " processes started by ", launcher,
        ", each of which would run alone, want one command that starts its devices itself: shoal run -n ", n,
        " PROGRAM, or shoal train RECIPE --devices ", n, "; if each is to run alone, start it with env -u ",
        unset);
  };
  EXPECT_EQ(said_with({{"WORLD_SIZE", "4"}, {"RANK", "0"}, {"LOCAL_RANK", "0"}}),
            sentence("WORLD_SIZE", "4", "4", "torchrun", "WORLD_SIZE"));
  EXPECT_EQ(said_with({{"OMPI_COMM_WORLD_SIZE", "2"}, {"PMIX_RANK", "1"}}),
            sentence("OMPI_COMM_WORLD_SIZE", "2", "2", "mpirun", "OMPI_COMM_WORLD_SIZE"));
  EXPECT_EQ(said_with({{"PMI_SIZE", "8"}}), sentence("PMI_SIZE", "8", "8", "mpirun", "PMI_SIZE"));
  EXPECT_EQ(said_with({{"PMIX_RANK", "3"}}), sentence("PMIX_RANK", "several", "N", "mpirun", "PMIX_RANK"));
  EXPECT_EQ(said_with({{"PMI_SIZE", "2"}, {"SLURM_STEP_NUM_TASKS", "2"}, {"SLURM_PROCID", "0"}}),
            sentence("PMI_SIZE", "2", "2", "mpirun", "PMI_SIZE -u SLURM_STEP_NUM_TASKS"));
  EXPECT_EQ(said_with({{"SLURM_NTASKS", "3"}, {"SLURM_PROCID", "0"}}),
            sentence("SLURM_PROCID", "3", "3", "srun", "SLURM_PROCID"));
}

TEST_F(Environment, OneProcessInsideAJobIsFine) {
  EXPECT_EQ(said_with({{"WORLD_SIZE", "1"}, {"RANK", "0"}}), "");
  EXPECT_EQ(said_with({{"WORLD_SIZE", "large"}, {"RANK", "0"}}), "");
  EXPECT_EQ(said_with({{"WORLD_SIZE", "4"}}), "") << "of something else: there is no rank";
  EXPECT_EQ(said_with({{"OMPI_COMM_WORLD_SIZE", "1"}, {"PMIX_RANK", "0"}}), "");
  EXPECT_EQ(said_with({{"SLURM_NTASKS", "4"}}), "") << "the shell of salloc";
  EXPECT_EQ(said_with({{"SLURM_NTASKS", "4"}, {"SLURM_PROCID", "0"}, {"SLURM_STEP_NUM_TASKS", "1"}}), "")
      << "its shell where that is a step";
  EXPECT_EQ(said_with({{"SLURM_NTASKS", "4"}, {"SLURM_PROCID", "0"}, {"ENVIRONMENT", "BATCH"}}), "")
      << "the script of sbatch";
}

TEST_F(Environment, WhatNoLauncherSetIsRefused) {
  const std::string advice =
      "; it is set by the launcher alone (shoal run -n N PROGRAM), unset it to run on one device";
  expect("0", "two", "3",
         "SHOAL_WORLD_SIZE - environment: got \"two\", want a whole number from 1 to 256" + advice);
  expect("0", "", "3",
         "SHOAL_WORLD_SIZE - environment: got \"\", want a whole number from 1 to 256" + advice);
  expect("2", "2", "3", "SHOAL_RANK - environment: got \"2\", want a whole number from 0 to 1" + advice);
  expect("0x", "2", "3", "SHOAL_RANK - environment: got \"0x\", want a whole number from 0 to 1" + advice);
  expect("1", "2", "999",
         "SHOAL_MEMORY - environment: got 999, want an open descriptor; start the ranks by shoal run -n N "
         "PROGRAM");
  const int null = open("/dev/null", O_RDONLY);
  setenv("SHOAL_MEMORY", std::to_string(null).c_str(), 1);
  EXPECT_THROW(from_environment(), InputError);
  close(null);
}

}  // namespace
}  // namespace shoal::comm
