// What one device keeps between steps, as its layout's Ownership says: weights as forward reads them,
// gradients, and the master weights of what it owns; and all that it reads of its peers' memory.
#pragma once

#include <ATen/core/TensorBody.h>

#include <map>
#include <memory>
#include <span>
#include <string>

#include "comm/group.h"
#include "kernels/device.h"
#include "lower/gradient_schedule.h"
#include "lower/ownership.h"
#include "lower/storage.h"

namespace shoal::run {

/// A run of blocks that this device owns.
struct OwnedShard {
  lower::Shard shard;
  at::Tensor master;    // fp32 [elements]; in fp32 runs the weights themselves
  at::Tensor gradient;  // fp32 [elements]; valid between the sums and update
};

/// Bytes that a device read of its peers' memory.
struct Traffic {
  int64_t gradients = 0, weights = 0, boards = 0;
};

class DeviceMemory {
 public:
  /// Collective: makes the windows. The group is the world. Ownership and device must outlive this.
  DeviceMemory(comm::Group&, const lower::Ownership&, const lower::GradientSchedule&, kernels::Device&);

  /// The numbers of a parameter or buffer, fp32 or as captured, whole: what this device keeps of it is taken.
  /// Other tensors (frozen parameters, buffers) are kept whole, in `dtype`; later numbers of the same type go
  /// where the first ones lie.
  void install(const std::string& name, const at::Tensor& tensor, c10::ScalarType dtype);

  /// A frozen parameter or buffer has its numbers in `tensor` from here on: forward reads it there, updates
  /// of buffers write to it. REQUIRES: forward reads it in the tensor's dtype.
  void adopt(const std::string& name, const at::Tensor& tensor);

  /// What forward reads, where it lies; undefined when this device has no such parameter or buffer, or does
  /// not keep it whole (zero = 3: gather).
  at::Tensor value(const std::string& name, int part) const;
  /// Frozen parameters and buffers, as they were installed.
  const std::map<std::string, at::Tensor>& unowned() const { return originals_; }

  /// A fresh copy of a whole unit, from whoever keeps it, in the dtype that forward reads. Its bytes do not
  /// change between the barrier of all_gather and the second barrier of the next step.
  at::Tensor gather(size_t unit);
  /// The same for a whole parameter or buffer; undefined when there is none of this name.
  at::Tensor whole(const std::string& name);
  /// The same, without a copy where this device keeps it in one piece; to be read before the next update.
  at::Tensor current(const std::string& name);

  /// Collective over all devices: the master weights of a whole trained parameter, fp32, from whoever owns them.
  at::Tensor whole_master(comm::Group&, const std::string& name);

  std::vector<OwnedShard>& owned() { return owned_; }
  /// Those of one unit; they lie together.
  std::span<OwnedShard> owned_of(size_t unit);
  /// The owned piece that has these elements.
  OwnedShard& owner_of(size_t unit, Range elements);
  /// The place of these elements' summed gradient. REQUIRES: they are owned.
  std::span<float> gradient(size_t unit, Range elements);

  /// After masters changed: this device's own weights follow (a rounding in bf16, nothing in fp32).
  void publish_masters();
  /// After publish_masters on all devices and a barrier: copies what others own of the held units.
  void gather_weights();
  /// zero = 0, after all shares are summed and a barrier: copies the sums of the others' shares.
  void gather_gradients();

  // --- Accumulators: with zero < 2 of all held units, for all to read ---
  std::byte* accumulator(int index, size_t unit, size_t contribution) {
    return gradients_->mine().data() + accumulators_offset_ + index * ownership_.accumulator_bytes(rank_) +
           ownership_.accumulator_offset(rank_, unit, contribution);
  }
  /// These elements of what another device, or this one, has summed, in `dtype`: of the tensor-parallel
  /// coordinate whose gradients this rank sums.
  const std::byte* read_sum(const lower::PartialSum&, size_t unit, size_t contribution, Range elements,
                            comm::DType dtype, std::vector<std::byte>& scratch);
  // --- with zero >= 2 of owned pieces, private ---
  float* shard_accumulator(int index, const OwnedShard&, size_t contribution, int64_t element);

  /// A line of numbers that each device shows to the others: losses by microbatch, squares by block, and the
  /// wish to stop.
  double& loss(int64_t microbatch) { return board()[microbatch]; }
  double& square(int64_t block) { return board()[num_microbatches_ + block]; }
  double& stop() { return board()[num_microbatches_ + storage_.num_blocks]; }
  double read_loss(int rank, int64_t microbatch) { return read_board(rank, microbatch); }
  double read_square(int rank, int64_t block) { return read_board(rank, num_microbatches_ + block); }
  double read_stop(int rank) { return read_board(rank, num_microbatches_ + storage_.num_blocks); }

  const lower::Ownership& ownership() const { return ownership_; }
  const lower::Storage& storage() const { return storage_; }
  kernels::Device& device() const { return device_; }
  int rank() const { return rank_; }
  /// Since the start; whoever reads peers' memory by another way adds to it.
  Traffic& traffic() { return traffic_; }
  /// The memory in which value() lies; keeping it keeps them.
  std::shared_ptr<comm::Window> weights() const { return weights_; }
  /// Allocated: weights and masters; frozen parameters and buffers; accumulators and sums; the board.
  int64_t weight_bytes() const;
  int64_t module_bytes() const;
  int64_t gradient_bytes() const;
  int64_t board_bytes() const { return accumulators_offset_; }

 private:
  double* board() { return reinterpret_cast<double*>(gradients_->mine().data()); }
  double read_board(int rank, int64_t index);
  at::Tensor weight_view(size_t unit, Range elements) const;
  void read_weights(int rank, size_t unit, Range elements, std::byte* into);

  const lower::Ownership& ownership_;
  const lower::Storage& storage_;
  kernels::Device& device_;
  const int rank_;
  int64_t num_microbatches_;
  int64_t accumulators_offset_;
  std::vector<int> sum_in_;  // by dp coordinate: the accumulator of its first root, where it makes its sums
  std::shared_ptr<comm::Window> weights_, gradients_;
  std::vector<OwnedShard> owned_;
  at::Tensor shard_accumulators_;        // fp32 [accumulators, shard_elements_]
  std::vector<int64_t> shard_offset_;    // by owned piece, in elements
  int64_t shard_elements_ = 0;
  std::map<std::string, at::Tensor> originals_,
      others_;  // frozen parameters and buffers: as installed, as forward reads them
  Traffic traffic_;
};

}  // namespace shoal::run
