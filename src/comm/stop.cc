// SIGINT, SIGTERM and SIGHUP as a wish that the job reads at its next step; and the signal of a full file.
#include <time.h>

#include <atomic>
#include <csignal>
#include <cstdint>

#include "comm/launch.h"

namespace shoal::comm {
namespace {

// A signal handler can reach nothing else.
volatile std::sig_atomic_t stop_signal = 0;
std::atomic<int64_t> wished_at = 0;  // nanoseconds
static_assert(std::atomic<int64_t>::is_always_lock_free);

int64_t now() {
  timespec time = {};
  clock_gettime(CLOCK_MONOTONIC, &time);
  return time.tv_sec * int64_t{1'000'000'000} + time.tv_nsec;
}

void wish_to_stop(int signal) {
  if (stop_signal == 0) {
    wished_at = now();
    stop_signal = signal;
  } else if (is_second_wish(signal, std::chrono::nanoseconds(now() - wished_at))) {
    std::signal(signal, SIG_DFL);  // met when this returns: the process ends
    raise(signal);
  }
}

}  // namespace

bool is_ignored(int signal) {
  struct sigaction now = {};
  return sigaction(signal, nullptr, &now) == 0 && now.sa_handler == SIG_IGN;
}

bool is_second_wish(int signal, std::chrono::nanoseconds after_the_first) {
  return signal != SIGHUP && after_the_first >= kOneWish;
}

void install_stop_handlers() {
  struct sigaction action = {};
  action.sa_handler = wish_to_stop;
  action.sa_flags = SA_RESTART;
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
  if (!is_ignored(SIGHUP)) sigaction(SIGHUP, &action, nullptr);
}

bool stop_requested() { return stop_signal != 0; }

void survive_full_files() {
  struct sigaction now = {};
  if (sigaction(SIGXFSZ, nullptr, &now) == 0 && now.sa_handler == SIG_DFL) std::signal(SIGXFSZ, SIG_IGN);
}

}  // namespace shoal::comm
