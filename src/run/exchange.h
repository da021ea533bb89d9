// Shows values to the peers of a tensor-parallel group, and theirs to this device: what `shoal::exchange` does.
#pragma once

#include <ATen/core/TensorBody.h>

#include <memory>
#include <vector>

#include "comm/comm.h"
#include "lower/local_graph.h"

namespace shoal::run {

/// Belongs to its device's thread. All devices of the group run the same graph in the same order.
///
/// The window has two halves in turn. A device that makes exchange n + 1 has read all of exchange n; so once its peers
/// have posted n + 1, a device may write again where it showed n.
class Exchanger {
 public:
  static constexpr int kChannel = 0;

  /// Collective over the world: makes the window. `group`: the world's ranks of the group, in order.
  Exchanger(comm::Communicator&, std::vector<int> group, const lower::LocalGraph&);

  /// The peers' values, device by device, as views of their memory (where the transport reads in place): valid until the
  /// next exchange.
  std::vector<at::Tensor> exchange(const std::vector<at::Tensor>& mine, size_t number);

  /// Bytes of the window of this device.
  int64_t window_bytes() const { return 2 * half_bytes_; }

 private:
  comm::Communicator& communicator_;
  std::vector<int> group_;
  const lower::LocalGraph& local_;
  int64_t half_bytes_;
  std::shared_ptr<comm::Window> window_;
  uint64_t turn_ = 0;
};

}  // namespace shoal::run
