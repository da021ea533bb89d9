// Shows values to the peers of a tensor-parallel group, and theirs to this device: what `shoal::exchange`
// does.
#pragma once

#include <ATen/core/TensorBody.h>

#include <memory>
#include <vector>

#include "comm/comm.h"
#include "lower/local_graph.h"

namespace shoal::run {

/// Belongs to its device's thread. All devices of the group run the same graphs in the same order.
///
/// The window has two halves in turn. A device that makes exchange n + 1 has read all of exchange n; so once
/// its peers have posted n + 1, a device may write again where it showed n.
class Exchanger {
 public:
  static constexpr int kChannel = 0;

  /// Collective over the world: makes the window, two times `half_bytes`. `group`: the world's ranks of the
  /// group, in order; of it this device is number `rank`.
  Exchanger(comm::Communicator&, std::vector<int> group, int rank, int64_t half_bytes);

  /// The graph that runs from now on; kept by reference. Throws InputError when it shows more at a time than
  /// the window has room for.
  void begin(const lower::LocalGraph&);

  /// Of this device's window.
  int64_t window_bytes() const { return 2 * half_bytes_; }

  /// The peers' values, device by device, as views of their memory (where the transport reads in place):
  /// valid until the next exchange.
  std::vector<at::Tensor> exchange(const std::vector<at::Tensor>& mine, size_t number);

 private:
  comm::Communicator& communicator_;
  std::vector<int> group_;
  int rank_;
  int64_t half_bytes_;
  std::shared_ptr<comm::Window> window_;
  const lower::LocalGraph* local_ = nullptr;
  uint64_t turn_ = 0;
};

}  // namespace shoal::run
