// Signals that ask a process to end, and that of a file which may grow no further.
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <thread>
#include <vector>

#include "comm/launch.h"

namespace shoal::comm {
namespace {

using std::chrono::milliseconds;

// A process of its own that was asked to stop, and then again.
int end_of_one_that_hears(const std::vector<int>& signals, milliseconds between) {
  const pid_t process = fork();
  if (process == 0) {
    signal(SIGHUP, SIG_DFL);  // nohup has it ignored
    install_stop_handlers();
    for (const int signal : signals) {
      raise(signal);
      std::this_thread::sleep_for(between);
    }
    _exit(stop_requested() ? 0 : 3);
  }
  int status = 0;
  waitpid(process, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

TEST(Stop, ASecondWishEndsAtOnceAndOneSaidTwiceDoesNot) {
  const milliseconds at_once(0), later(150);
  EXPECT_EQ(end_of_one_that_hears({SIGINT}, at_once), 0);
  EXPECT_EQ(end_of_one_that_hears({SIGTERM, SIGTERM}, at_once), 0)
      << "timeout signals a process and its group";
  EXPECT_EQ(end_of_one_that_hears({SIGTERM, SIGTERM}, later), -SIGTERM);
  EXPECT_EQ(end_of_one_that_hears({SIGINT, SIGINT}, later), -SIGINT);
  EXPECT_EQ(end_of_one_that_hears({SIGHUP, SIGHUP}, later), 0) << "shell and system both say that it closed";
}

TEST(Stop, AFullFileIsAnError) {
  const pid_t process = fork();
  if (process == 0) {
    signal(SIGXFSZ, SIG_DFL);
    survive_full_files();
    const rlimit small = {10, 10};
    setrlimit(RLIMIT_FSIZE, &small);
    FILE* const file = tmpfile();
    const bool is_refused = file && ftruncate(fileno(file), 100) != 0 && errno == EFBIG;
    _exit(is_refused ? 0 : 3);
  }
  int status = 0;
  waitpid(process, &status, 0);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << status;
}

}  // namespace
}  // namespace shoal::comm
