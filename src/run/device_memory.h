// What one device keeps between steps: weights as forward reads them, gradient slots, and the master weights
// of what it owns.
#pragma once

#include <ATen/core/TensorBody.h>

#include <map>
#include <memory>
#include <string>

#include "comm/comm.h"
#include "lower/program.h"
#include "lower/storage.h"

namespace shoal::run {

/// A run of blocks that this device owns.
struct OwnedPiece {
  lower::Piece piece;
  at::Tensor master;    // fp32 [elements]; in fp32 runs the weights themselves
  at::Tensor gradient;  // fp32 [elements]; valid between reduce_scatter and update
};

class DeviceMemory {
 public:
  /// Collective: makes the windows.
  DeviceMemory(comm::Communicator&, const lower::Storage&, const lower::Program&);

  /// The numbers of a parameter or buffer, fp32 or as captured. Weights go where forward reads them, masters
  /// where they are owned. `tensor`: the undivided tensor; other tensors (frozen parameters, buffers) are
  /// kept whole, in `dtype`.
  void install(const std::string& name, const at::Tensor& tensor, c10::ScalarType dtype);

  /// What forward reads; undefined when `name` was never installed.
  at::Tensor value(const std::string& name) const;
  /// Frozen parameters and buffers, as they were installed.
  const std::map<std::string, at::Tensor>& unowned() const { return originals_; }

  std::vector<OwnedPiece>& owned() { return owned_; }
  const std::vector<lower::Piece>& pieces_of(int rank) const { return pieces_[static_cast<size_t>(rank)]; }

  /// After masters changed: this device's own weights follow (a rounding in bf16, nothing in fp32).
  void publish_masters();
  /// After publish_masters on all devices and a barrier: copies what the others own.
  void gather_weights();

  std::byte* slot(int index) {
    return gradients_->mine().data() + slots_offset_ + index * storage_.slot_bytes;
  }
  /// `bytes` bytes of a slot of any device.
  const std::byte* read_slot(int rank, int index, int64_t offset, size_t bytes,
                             std::vector<std::byte>& scratch);

  /// A line of numbers that each device shows to the others: losses by microbatch, squares by block, and the
  /// wish to stop.
  double& loss(int64_t microbatch) { return board()[microbatch]; }
  double& square(int64_t block) { return board()[num_microbatches_ + block]; }
  double& stop() { return board()[num_microbatches_ + storage_.num_blocks]; }
  double read_loss(int rank, int64_t microbatch) { return read_board(rank, microbatch); }
  double read_square(int rank, int64_t block) { return read_board(rank, num_microbatches_ + block); }
  double read_stop(int rank) { return read_board(rank, num_microbatches_ + storage_.num_blocks); }

  int64_t window_bytes() const { return window_bytes_; }

 private:
  double* board() { return reinterpret_cast<double*>(gradients_->mine().data()); }
  double read_board(int rank, int64_t index);
  at::Tensor weight_view(size_t parameter, Range elements) const;

  comm::Communicator& communicator_;
  const lower::Storage& storage_;
  int64_t num_microbatches_;
  int64_t slots_offset_;
  int64_t window_bytes_;
  std::shared_ptr<comm::Window> weights_, gradients_;
  std::vector<std::vector<lower::Piece>> pieces_;  // by rank
  std::vector<OwnedPiece> owned_;
  std::map<std::string, size_t> index_;  // stored parameters by name
  std::map<std::string, at::Tensor> originals_,
      others_;  // frozen parameters and buffers: as installed, as forward reads them
};

}  // namespace shoal::run
