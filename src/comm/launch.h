// Starting ranks: as threads of this process, or as processes of this machine that inherit their shared
// memory.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "comm/comm.h"

namespace shoal::comm {

/// Runs body on `size` ranks, each a thread. A rank that throws aborts the others; returns when all have
/// ended; rethrows the first error.
void run_threads(int size, const std::function<void(Communicator&)>& body);

inline constexpr int kMaxDevices = 256;  // processes of one machine

struct LaunchOptions {
  int devices = 1;                   // at most kMaxDevices
  std::vector<std::string> command;  // the program and its arguments; every rank runs it
  std::string name = "shoal";        // who speaks in messages: "shoal train"
  std::function<std::string(int exit_code)> advice =
      {};  // asked when the job failed: the end of its sentence
};

/// Starts the ranks as processes and waits for all of them. Returns the job's exit code: 0 when all ended
/// with 0, else that of the rank that failed first (1 when a signal killed it). Prints one line about the
/// first failure on stderr: the sentence that rank reported through report_failure, or how it died and what
/// it was doing. When a rank fails the others are told at once, and those still there after a second are
/// killed. SIGINT, SIGTERM and SIGHUP are passed on once (the ranks end at their next step); a second one
/// kills. SIGTSTP stops the ranks and then this process; continued, it continues them. Shared memory has no
/// name anywhere: it is gone when the last process is. Ranks die with the launcher. stdout and stderr are
/// everyone's; stdin is rank 0's, unless it is a terminal. Throws InputError on bad options, and as
/// check_started_once. Call it before the process has other threads.
int launch(const LaunchOptions&);

/// True in a process that launch() started.
bool is_launched();

/// The communicator of a launched process (shm), or single() in a process that was not. Call once. Throws
/// InputError when the environment is not what launch() sets, and as check_started_once; JobError when the
/// launcher is gone.
std::unique_ptr<Communicator> from_environment();

/// Throws InputError when torchrun, srun or mpirun started this process as one of several: they know nothing
/// of each other, and each would do all of the work alone.
void check_started_once();

/// Fails the job, and leaves the sentence for the launcher to print, and the exit code; the launcher takes
/// those of the rank that failed first. Returns false (did nothing) in a process that was not launched.
bool report_failure(const std::string& sentence, int exit_code) noexcept;

/// Whether this process ignores the signal, as programs under nohup ignore SIGHUP.
bool is_ignored(int signal);

/// Whether a signal that asks for the end is a second wish, which does not wait for the next step. What comes
/// within kOneWish of the first is the same wish (timeout signals the process, then its group), and a
/// terminal that closes may say so twice at any time.
bool is_second_wish(int signal, std::chrono::nanoseconds after_the_first);
inline constexpr std::chrono::milliseconds kOneWish(100);

/// SIGINT, SIGTERM and, unless ignored, SIGHUP set stop_requested() from here on; a second wish ends the
/// process at once.
void install_stop_handlers();
bool stop_requested();

/// A file that may grow no further (ulimit -f) is an error of write() from here on, and not the end of the
/// process.
void survive_full_files();

}  // namespace shoal::comm
