// Sends values to devices that compute other stages of a pipeline, and shows theirs to this one: what `shoal::send`
// and `shoal::receive` do.
//
// A sender copies into a slot of its own memory, and the receiver reads there, in place where the transport can, until
// its frame has done with the microbatch. The slots of a transfer are used in turn, in the order in which microbatches
// go by; so the n-th message waits until the (n - slots)-th was let go.
#pragma once

#include <ATen/core/TensorBody.h>

#include <memory>
#include <vector>

#include "comm/group.h"
#include "kernels/device.h"
#include "lower/program.h"
#include "run/waits.h"

namespace shoal::run {

/// Belongs to its device's thread.
class Transfers {
 public:
  /// Collective over the devices of a pipeline: each transfer has a group of its own for its two ends. `program` and
  /// the device must outlive this.
  Transfers(comm::Group& world, const lower::Program& program, kernels::Device&);

  /// The values of transfer `index`, as they lie in memory: strides are kept, which kernels choose by.
  void send(size_t index, const std::vector<at::Tensor>& values, Waits&);
  /// They are valid until the microbatch that they belong to is released.
  std::vector<at::Tensor> receive(size_t index, Waits&);
  /// The device has done with the microbatch whose messages it received first: one of each transfer.
  void release();

  int64_t window_bytes() const;

 private:
  struct End {
    comm::Group group;  // sender, receiver
    std::shared_ptr<comm::Window> window;
    int64_t messages = 0;                         // sent, or received
    std::vector<std::vector<std::byte>> scratch;  // by slot, for transports that cannot read in place
  };
  int64_t offset(size_t index) const;  // of the slot whose turn it is
  static void await(End&, int member, int64_t count, Waits&);

  const lower::Program& program_;
  kernels::Device& device_;
  std::vector<End> ends_;  // as program.transfers
};

}  // namespace shoal::run
