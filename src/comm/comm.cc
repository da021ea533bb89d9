#include "comm/comm.h"

namespace shoal::comm {

Window& Communicator::staging() {
  if (!staging_) staging_ = window(kStagingBytes);
  return *staging_;
}

}  // namespace shoal::comm
