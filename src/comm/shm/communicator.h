// Ranks as processes of one machine, over a SharedMemory that they inherited.
#pragma once

#include <memory>

#include "comm/comm.h"
#include "comm/shm/memory.h"

namespace shoal::comm {

/// The communicator of `rank`. Throws JobError when a process has taken this rank already.
std::unique_ptr<Communicator> shm_communicator(std::shared_ptr<SharedMemory>, int rank);

}  // namespace shoal::comm
