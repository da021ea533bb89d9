// The launcher, with a program of its own for the ranks (rank_program.cc).
#include "comm/launch.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <thread>

#include "base/text.h"
#include "shoal/error.h"

namespace shoal::comm {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;
using std::chrono::seconds;

std::string rank_program() { return fs::read_symlink("/proc/self/exe").parent_path() / "rank_program"; }

LaunchOptions ranks(int devices, std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), rank_program());
  return {devices, arguments, "shoal run"};
}

struct Output {
  int code;
  std::string out, err;
};

Output run(const LaunchOptions& options) {
  ::testing::internal::CaptureStdout();
  ::testing::internal::CaptureStderr();
  const int code = launch(options);
  const std::string out = ::testing::internal::GetCapturedStdout();
  return {code, out, ::testing::internal::GetCapturedStderr()};
}

TEST(Launch, RunsTheRanks) {
  for (const int devices : {1, 2, 5}) {
    const Output output = run(ranks(devices, {"sum"}));
    EXPECT_EQ(output.code, 0);
    EXPECT_EQ(output.out, cat("sum ", devices * (devices - 1) / 2, "\n"));
    EXPECT_EQ(output.err, "");
  }
}

TEST(Launch, ReturnsTheFirstFailure) {
  const auto expect = [](std::vector<std::string> arguments, int code, const std::string& sentence) {
    const Output output = run(ranks(2, arguments));
    EXPECT_EQ(output.code, code);
    EXPECT_EQ(output.err, "shoal run: " + sentence + "\n");
    EXPECT_EQ(output.out, "");
  };
  expect({"code", "7"}, 7, "rank 1, step 3 - ended with exit code 7");
  expect({"code", "0"}, 1, "rank 0, step 3 - barrier: rank 1 ended before");
  expect({"input"}, 2, "recipe.toml - steps: got -1, want 1 or more");
  expect({"job"}, 1, "disk - write: got no space, want 3 bytes");
}

TEST(Launch, ACommunicatorIsTakenOnce) {
  const Output output = run(ranks(1, {"twice"}));
  EXPECT_EQ(output.code, 1);
  EXPECT_EQ(output.err,
            "shoal run: rank 0 - communicator: got asked twice, want once per rank; a child process cannot "
            "take its parent's rank\n");
}

TEST(Launch, SaysWhatCannotBeStarted) {
  const Output output = run({2, {"/no/such/program"}, "shoal run"});
  EXPECT_EQ(output.code, 2);
  EXPECT_EQ(output.err, "shoal run: /no/such/program - cannot be started: No such file or directory\n");
  EXPECT_THROW(launch({0, {"true"}, "x"}), InputError);
  EXPECT_THROW(launch({kMaxDevices + 1, {"true"}, "x"}), InputError);
  EXPECT_THROW(launch({1, {}, "x"}), InputError);
}

TEST(Launch, RanksThatNeverAskForACommunicatorAreFine) {
  EXPECT_EQ(run({3, {"true"}, "shoal run"}).code, 0);
  const Output output = run({3, {"false"}, "shoal run"});
  EXPECT_EQ(output.code, 1);
  EXPECT_TRUE(output.err.ends_with(" - ended with exit code 1\n")) << output.err;
}

TEST(Launch, StandardInputIsThatOfRankZero) {
  int pipes[2];
  ASSERT_EQ(pipe(pipes), 0);
  ASSERT_EQ(write(pipes[1], "hello\n", 6), 6);
  close(pipes[1]);
  const int before = dup(STDIN_FILENO);
  dup2(pipes[0], STDIN_FILENO);
  const Output output = run(ranks(2, {"stdin"}));
  dup2(before, STDIN_FILENO);
  close(before), close(pipes[0]);
  EXPECT_EQ(output.out, "5 0\n") << output.err;
}

// A launcher in a process of its own, which can be sent signals; its ranks note their processes in a file.
class Signals : public ::testing::Test {
 protected:
  void SetUp() override {
    // So that ranks whose launcher was killed become this process's children, and it can see how they ended.
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    char folder[] = "/tmp/shoal_launch_XXXXXX";
    ASSERT_NE(mkdtemp(folder), nullptr);
    folder_ = folder;
  }
  void TearDown() override {
    prctl(PR_SET_CHILD_SUBREAPER, 0);
    fs::remove_all(folder_);
  }

  struct Job {
    pid_t launcher;
    std::vector<pid_t> processes;
    fs::path errors;
  };

  Job start(const std::string& program) {
    const fs::path notes = folder_ / cat("notes", jobs_), errors = folder_ / cat("errors", jobs_);
    ++jobs_;
    const pid_t launcher = fork();
    if (launcher == 0) {
      dup2(open(errors.c_str(), O_CREAT | O_WRONLY, 0600), STDERR_FILENO);
      _exit(launch(ranks(kRanks, {program, notes})));
    }
    Job job{launcher, {}, errors};
    const auto until = Clock::now() + seconds(10);
    while (job.processes.size() < kRanks && Clock::now() < until) {
      std::this_thread::sleep_for(milliseconds(10));
      job.processes.clear();
      std::ifstream file(notes);
      for (std::string line; std::getline(file, line) && !file.eof();)
        job.processes.push_back(std::stoi(line));
    }
    EXPECT_EQ(job.processes.size(), size_t{kRanks});
    return job;
  }

  // Waits for the launcher; its exit code and what it said. No rank may be left.
  static Output finish(const Job& job) {
    const auto begin = Clock::now();
    int status = 0;
    waitpid(job.launcher, &status, 0);
    EXPECT_LT(Clock::now() - begin, seconds(2));
    for (const pid_t process : job.processes)
      EXPECT_TRUE(kill(process, 0) != 0 && errno == ESRCH) << process << " is left";
    std::ifstream file(job.errors);
    std::string err{std::istreambuf_iterator<char>(file), {}};
    return {WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status), "", err};
  }

  static constexpr int kRanks = 3;
  fs::path folder_;
  int jobs_ = 0;
};

TEST_F(Signals, AnInterruptIsPassedOnAndTheRanksEndWell) {
  for (const int signal : {SIGINT, SIGTERM}) {
    const Job job = start("forever");
    kill(job.launcher, signal);
    const Output output = finish(job);
    EXPECT_EQ(output.code, 0);
    EXPECT_EQ(output.err, "");
  }
}

TEST_F(Signals, ASecondInterruptKills) {
  const Job job = start("deaf");
  kill(job.launcher, SIGINT);
  std::this_thread::sleep_for(milliseconds(200));
  EXPECT_EQ(waitpid(job.launcher, nullptr, WNOHANG), 0);
  kill(job.launcher, SIGINT);
  const Output output = finish(job);
  EXPECT_EQ(output.code, 1);
  EXPECT_EQ(output.err, "shoal run: stopped at once by a second signal, 2 (Interrupt)\n");
}

TEST_F(Signals, AKilledRankEndsTheJob) {
  const Job job = start("forever");
  kill(job.processes[1], SIGKILL);
  const Output output = finish(job);
  EXPECT_EQ(output.code, 1);
  EXPECT_EQ(output.err.find("shoal run: rank "), 0u);
  EXPECT_TRUE(output.err.ends_with(", step 1: compute - killed by signal 9 (Killed)\n")) << output.err;
}

TEST_F(Signals, RanksDieWithTheLauncher) {
  for (const char* const program : {"forever", "deaf"}) {
    const Job job = start(program);
    const auto begin = Clock::now();
    kill(job.launcher, SIGKILL);
    waitpid(job.launcher, nullptr, 0);
    for (const pid_t process : job.processes) {
      int status = 0;
      ASSERT_EQ(waitpid(process, &status, 0), process);
      EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    }
    EXPECT_LT(Clock::now() - begin, seconds(2));
  }
}

TEST_F(Signals, TwoJobsAtOnceDoNotDisturbEachOther) {
  const Job first = start("forever"), second = start("forever");
  kill(first.processes[0], SIGKILL);
  EXPECT_EQ(finish(first).code, 1);
  std::this_thread::sleep_for(milliseconds(100));
  EXPECT_EQ(waitpid(second.launcher, nullptr, WNOHANG), 0);
  kill(second.launcher, SIGINT);
  EXPECT_EQ(finish(second).code, 0);
}

// The environment of this process, for the time of one expectation.
class Environment : public ::testing::Test {
 protected:
  void TearDown() override {
    for (const char* const name : {"SHOAL_RANK", "SHOAL_WORLD_SIZE", "SHOAL_MEMORY"}) unsetenv(name);
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
