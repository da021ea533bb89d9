// Ranks as child processes: starts them, watches over them, ends them together.
#pragma once

#include <functional>
#include <string>

#include "comm/shm/memory.h"

namespace shoal::comm {

struct Ending {
  int exit_code = 0;
  std::string sentence;  // about the first failure; empty when all went well
};

/// Forks one process per rank of the memory and waits for all of them. In each child, `run` gives its exit
/// code; it may exec instead. When a rank fails (ends with another code than 0, is killed, or fails the job),
/// the others are told at once, and those still there after a second are killed. SIGINT, SIGTERM and, unless
/// ignored, SIGHUP are passed on once; a second one kills. The children die with the calling thread.
///
/// Threads: blocks these and SIGCHLD for the calling thread meanwhile; call it before there are
/// other threads, which would take these signals, and whose locks a child could find held.
Ending run_job(SharedMemory&, const std::function<int(int rank)>& run);

}  // namespace shoal::comm
