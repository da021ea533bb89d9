// The launcher, with a program of its own for the ranks (rank_program.cc).
#include "comm/launch.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
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
  expect({"code", "0"}, 1, "rank 0, step 3 - barrier: rank 1 ended before (step 3)");
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

TEST_F(Signals, OneWishMaySayItTwice) {
  for (const int signal :
       {SIGTERM, SIGHUP}) {  // timeout signals the process and its group; terminals close twice
    const Job job = start("slow to end");
    kill(job.launcher, signal);
    std::this_thread::sleep_for(milliseconds(10));
    kill(job.launcher, signal);
    if (signal == SIGHUP) {
      std::this_thread::sleep_for(milliseconds(200));
      kill(job.launcher, signal);
    }
    const Output output = finish(job);
    EXPECT_EQ(output.code, 0) << signal;
    EXPECT_EQ(output.err, "");
  }
}

// Nobody could wake a group of processes whose parents are all gone, so the system keeps it from stopping.
bool is_stopped_by_the_terminal() {
  const pid_t child = fork();
  if (child == 0) {
    signal(SIGTSTP, SIG_DFL);
    raise(SIGTSTP);
    _exit(0);
  }
  int status = 0;
  waitpid(child, &status, WUNTRACED);
  if (!WIFSTOPPED(status)) return false;
  kill(child, SIGCONT);
  waitpid(child, &status, 0);
  return true;
}

// What Ctrl-Z and fg do: the launcher hears of them alone.
TEST_F(Signals, TheRanksStopAndGoOnWithTheLauncher) {
  if (!is_stopped_by_the_terminal()) GTEST_SKIP() << "these tests run in an orphaned group of processes";
  const Job job = start("forever");
  const auto state = [](pid_t process) {
    std::ifstream file(cat("/proc/", process, "/stat"));
    std::string text{std::istreambuf_iterator<char>(file), {}};
    return text.empty() ? '?' : text.at(text.rfind(')') + 2);
  };
  const auto all_are = [&](bool stopped) {
    for (const auto until = Clock::now() + seconds(10); Clock::now() < until;) {
      bool all = (state(job.launcher) == 'T') == stopped;
      for (const pid_t process : job.processes) all = all && (state(process) == 'T') == stopped;
      if (all) return true;
      std::this_thread::sleep_for(milliseconds(10));
    }
    return false;
  };
  for (int times = 0; times < 2; ++times) {
    kill(job.launcher, SIGTSTP);
    EXPECT_TRUE(all_are(true));
    kill(job.launcher, SIGCONT);
    EXPECT_TRUE(all_are(false));
  }
  kill(job.launcher, SIGINT);
  const Output output = finish(job);
  EXPECT_EQ(output.code, 0);
  EXPECT_EQ(output.err, "");
}

TEST_F(Signals, AStoppedRankHoldsTheOthersUpAndNoMore) {
  const Job job = start("forever");
  kill(job.processes[1], SIGSTOP);
  std::this_thread::sleep_for(milliseconds(1500));  // longer than the grace of a failure
  EXPECT_EQ(waitpid(job.launcher, nullptr, WNOHANG), 0);
  kill(job.processes[1], SIGCONT);
  kill(job.launcher, SIGINT);
  EXPECT_EQ(finish(job).code, 0);
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

TEST(Launch, ALimitOnFilesIsASentence) {
  rlimit before = {};
  getrlimit(RLIMIT_FSIZE, &before);
  const rlimit small = {1 << 20, before.rlim_max};
  setrlimit(RLIMIT_FSIZE, &small);
  std::string said;
  try {
    launch(ranks(2, {"sum"}));
  } catch (const JobError& error) {
    said = error.what();
  }
  setrlimit(RLIMIT_FSIZE, &before);
  EXPECT_EQ(
      said,
      "shared memory - size: got a limit of 1.0 MiB on files, want none: devices share a file without a "
      "name, of 3.0 TiB that take no room until they are used; say ulimit -f unlimited, or use one device");
}

}  // namespace
}  // namespace shoal::comm
