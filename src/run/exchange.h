// Shows values to the peers of a tensor-parallel group, and theirs to this device: what `shoal::exchange`
// does.
#pragma once

#include <ATen/core/TensorBody.h>

#include <memory>
#include <string>
#include <vector>

#include "base/blocks.h"
#include "comm/group.h"
#include "kernels/device.h"
#include "lower/local_graph.h"
#include "run/waits.h"

namespace shoal::run {

/// Belongs to its device's thread. All devices of the group run the same graphs in the same order.
///
/// The window has two halves in turn. A device that makes exchange n + 1 has read all of exchange n; so once
/// its peers have posted n + 1, a device may write again where it showed n.
class Exchanger {
 public:
  /// Collective over the group, whose signals nobody else uses: makes the window, two times `half_bytes` (at
  /// least kLeastHalf). The device must outlive this.
  Exchanger(comm::Group, int64_t half_bytes, kernels::Device&);
  static constexpr int64_t kLeastHalf = 4096;

  /// The graph that runs from now on; kept by reference.
  void begin(const lower::LocalGraph& local) { local_ = &local; }

  /// Makes sure that the peers bring the same `text` to what comes now: an exchange of kTextBytes of it.
  /// Throws InputError: "PLACE: rank 1 has TEXT, rank 0 has TEXT; ...".
  void agree(const std::string& place, const std::string& text);
  static constexpr size_t kTextBytes = 512;

  /// Of this device's window.
  int64_t window_bytes() const { return 2 * half_bytes_; }

  /// The peers' values, device by device. Where the transport reads in place and all of them fit half of the
  /// window, they are views of the peers' memory, valid until the next exchange; else copies, made in as many
  /// turns as it takes.
  std::vector<at::Tensor> exchange(const std::vector<at::Tensor>& mine, size_t number, Waits&);

 private:
  // Shows bytes [start, start + half_bytes_) of the values as they lie one after the other, waits for the
  // peers to do so, and calls `read(device of the group, its half of the window)` for each.
  template <class Read>
  void turn(const std::vector<at::Tensor>& mine, const lower::Exchange&, int64_t start, Waits&, Read&& read);

  comm::Group group_;
  kernels::Device& device_;
  int64_t half_bytes_;
  std::shared_ptr<comm::Window> window_;
  const lower::LocalGraph* local_ = nullptr;
  uint64_t turn_ = 0;
};

}  // namespace shoal::run
