// Starting ranks: as threads of this process, or as processes of this machine that inherit their shared
// memory.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "comm/comm.h"

namespace shoal::comm {

/// Runs body on `size` ranks, each a thread. A rank that throws aborts the others; returns when all have
/// ended; rethrows the first error.
void run_threads(int size, const std::function<void(Communicator&)>& body);

struct LaunchOptions {
  int devices = 1;
  std::vector<std::string> command;  // the program and its arguments; every rank runs it
  std::string name = "shoal";        // who speaks in messages: "shoal train"
};

/// Starts the ranks as processes and waits for all of them. Returns the job's exit code: 0 when all ended
/// with 0, else the first failing rank's (1 or 2; a rank killed by a signal gives 1). Prints one line about
/// the first failure on stderr: the sentence that rank reported through report_failure, or how it died and
/// what it was doing. When a rank dies the others are told at once, and those still there after a second are
/// killed. SIGINT and SIGTERM are passed on once (the ranks end at their next step); a second one kills.
/// Shared memory has no name anywhere: it is gone when the last process is. Ranks die with the launcher.
int launch(const LaunchOptions&);

/// True in a process that launch() started.
bool is_launched();

/// The communicator of a launched process (shm), or single() in a process that was not. Call once.
std::unique_ptr<Communicator> from_environment();

/// Leaves the sentence for the launcher to print, and the exit code; returns false (did nothing) in a process
/// that was not launched.
bool report_failure(const std::string& sentence, int exit_code) noexcept;

/// SIGINT and SIGTERM set stop_requested() from here on; the second SIGINT ends the process at once.
void install_stop_handlers();
bool stop_requested();

}  // namespace shoal::comm
