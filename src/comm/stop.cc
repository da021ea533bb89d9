// SIGINT, SIGTERM and SIGHUP as a wish that the job reads at its next step.
#include <csignal>

#include "comm/launch.h"

namespace shoal::comm {
namespace {

volatile std::sig_atomic_t stop_signal = 0;  // a signal handler can reach nothing else

}  // namespace

bool is_ignored(int signal) {
  struct sigaction now = {};
  return sigaction(signal, nullptr, &now) == 0 && now.sa_handler == SIG_IGN;
}

void install_stop_handlers() {
  struct sigaction action = {};
  action.sa_handler = [](int signal) { stop_signal = signal; };
  action.sa_flags = SA_RESETHAND | SA_RESTART;  // the same signal again meets the default: the process ends
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
  if (!is_ignored(SIGHUP)) sigaction(SIGHUP, &action, nullptr);
}

bool stop_requested() { return stop_signal != 0; }

}  // namespace shoal::comm
