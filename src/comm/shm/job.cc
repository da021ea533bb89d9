#include "comm/shm/job.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <optional>
#include <system_error>
#include <vector>

#include "base/text.h"
#include "shoal/error.h"

namespace shoal::comm {
namespace {

using Clock = std::chrono::steady_clock;
constexpr std::chrono::seconds kGrace(1);     // for the others, once a rank has failed
constexpr timespec kRound = {0, 50'000'000};  // between two looks at ranks that gave no sign

// Signals that wait to be fetched, instead of interrupting; as before at the end.
class SignalInbox {
 public:
  SignalInbox() {
    sigemptyset(&set_);
    for (const int signal : {SIGINT, SIGTERM, SIGCHLD}) sigaddset(&set_, signal);
    for (const int signal : {SIGHUP, SIGTSTP})
      if (!is_ignored(signal)) sigaddset(&set_, signal);
    pthread_sigmask(SIG_BLOCK, &set_, &before_);
    struct sigaction standard = {};
    standard.sa_handler = SIG_DFL;
    sigaction(SIGCHLD, &standard, &child_before_);  // were it ignored, the children's ends would be lost
  }
  ~SignalInbox() { restore(); }
  void restore() const {
    sigaction(SIGCHLD, &child_before_, nullptr);
    pthread_sigmask(SIG_SETMASK, &before_, nullptr);
  }
  /// The next signal, or 0 after a while.
  int next() const { return std::max(0, sigtimedwait(&set_, nullptr, &kRound)); }
  /// Stops this process, as SIGTSTP does; returns when somebody continues it, or at once where nobody could.
  void suspend() const {
    sigset_t stop;
    sigemptyset(&stop);
    sigaddset(&stop, SIGTSTP);
    raise(SIGTSTP);
    pthread_sigmask(SIG_UNBLOCK, &stop, nullptr);
    pthread_sigmask(SIG_BLOCK, &stop, nullptr);
  }

 private:
  sigset_t set_, before_;
  struct sigaction child_before_;
};

// The first lines of a rank's life.
void become_rank(pid_t launcher, int rank) {
  // A group of its own: Ctrl-C in a terminal reaches the launcher alone, which passes it on once; and what
  // the rank starts ends with it.
  setpgid(0, 0);
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != launcher) _exit(1);  // it died before that line
  // Outside of the terminal's foreground group, it may still write there, also after `stty tostop`; a program
  // that reads the terminal gets an error. Otherwise either would stop the rank, and the job would wait for
  // it.
  signal(SIGTTOU, SIG_IGN);
  signal(SIGTTIN, SIG_IGN);
  // Rank 0 may read what is piped in. Nobody reads a terminal.
  if (rank != 0 || isatty(STDIN_FILENO)) {
    const int nothing = open("/dev/null", O_RDONLY);
    if (nothing >= 0) dup2(nothing, STDIN_FILENO), close(nothing);
  }
}

std::string signal_name(int signal) {
  const char* const name = sigdescr_np(signal);
  return cat(signal, " (", name ? name : "unknown", ")");
}

class Job {
 public:
  Job(SharedMemory& memory, const std::function<int(int)>& run)
      : memory_(memory), run_(run), ranks_(memory.ranks()) {}
  ~Job() {  // only after an exception are there any
    signal_all(SIGKILL);
    for (Rank& rank : ranks_)
      if (rank.alive) waitpid(rank.process, nullptr, 0);
  }

  Ending run() {
    start();
    std::optional<Clock::time_point> deadline;
    for (int signal = 0;; signal = signals_.next()) {
      if (signal == SIGINT || signal == SIGTERM || signal == SIGHUP) stop(signal);
      if (signal == SIGTSTP) suspend();
      reap();
      if (alive_ == 0) break;
      if (!deadline && memory_.failed_rank()) deadline = Clock::now() + kGrace;
      if (deadline && Clock::now() > *deadline) signal_all(SIGKILL);
    }
    conclude();
    return ending_;
  }

 private:
  // The terminal and the shell know of this process alone: it passes on what they ask for.
  void stop(int signal) {
    if (stop_signal_ == 0) {
      stop_signal_ = signal;
      stopped_at_ = Clock::now();
      signal_all(signal);
    } else if (is_second_wish(signal, Clock::now() - stopped_at_)) {
      signal_all(SIGKILL);
      ending_.sentence = cat("stopped at once by a second signal, ", signal_name(signal));
    }
  }

  void suspend() {
    signal_all(SIGSTOP);
    signals_.suspend();
    signal_all(SIGCONT);
  }

  struct Rank {
    pid_t process = 0;
    bool alive = false;
    int exit_code = 0;
  };

  void start() {
    const pid_t launcher = getpid();
    for (int rank = 0; rank < memory_.ranks(); ++rank) {
      const pid_t process = fork();
      if (process < 0)
        throw JobError(cat("rank ", rank, " - fork: ", std::generic_category().message(errno)));
      if (process == 0) {
        become_rank(launcher, rank);
        signals_.restore();
        _exit(run_(rank));
      }
      setpgid(process, process);  // here too: a signal to the group may come before the child has run
      ranks_[rank] = {process, true, 0};
      ++alive_;
    }
  }

  void reap() {
    for (int rank = 0; rank < memory_.ranks(); ++rank) {
      int status = 0;
      if (!ranks_[rank].alive || waitpid(ranks_[rank].process, &status, WNOHANG) != ranks_[rank].process)
        continue;
      ranks_[rank].alive = false;
      --alive_;
      ended(rank, status);
    }
  }

  void ended(int rank, int status) {
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return memory_.leave(rank);
    ranks_[rank].exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : 1;
    if (WIFSIGNALED(status) && WTERMSIG(status) == stop_signal_) {  // it was not ready to hear of it
      if (ending_.sentence.empty())
        ending_.sentence = cat("stopped by signal ", signal_name(stop_signal_), " before the work began");
      return memory_.fail(rank, "stopped before the work began");
    }
    if (WIFSIGNALED(status))
      return memory_.fail(rank, cat("killed by signal ", signal_name(WTERMSIG(status))));
    memory_.fail(rank, cat("ended with exit code ", WEXITSTATUS(status)));
  }

  void signal_all(int signal) {
    for (const Rank& rank : ranks_)
      if (rank.alive) kill(-rank.process, signal);
  }

  void conclude() {
    const std::optional<int> failed = memory_.failed_rank();
    if (!failed) return;
    const RankState& state = memory_.state(*failed);
    const std::string reported = state.sentence.get();
    const int reported_code = state.exit_code.load(), exit_code = ranks_[*failed].exit_code;
    ending_.exit_code = reported_code != 0 ? reported_code : exit_code != 0 ? exit_code : 1;
    if (ending_.sentence.empty()) ending_.sentence = reported.empty() ? memory_.failure() : reported;
  }

  SharedMemory& memory_;
  const std::function<int(int)>& run_;
  const SignalInbox signals_;
  std::vector<Rank> ranks_;
  int alive_ = 0;
  int stop_signal_ = 0;  // the first that asked the job to end
  Clock::time_point stopped_at_;
  Ending ending_;
};

}  // namespace

Ending run_job(SharedMemory& memory, const std::function<int(int)>& run) { return Job(memory, run).run(); }

}  // namespace shoal::comm
