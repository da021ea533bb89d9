// The optimizer's state for the pieces that a device owns, and its step on them.
#pragma once

#include <ATen/core/TensorBody.h>

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "lower/storage.h"
#include "run/device_memory.h"
#include "shoal/optimizer.h"
#include "state/scratch_file.h"

namespace shoal::session {

/// fp32 numbers that an optimizer keeps for each weight.
int64_t num_states(const Optimizer&);

class OptimizerState {
 public:
  /// `folder`: where the state lies in a file (state/scratch_file.h); empty: in memory.
  OptimizerState(const Optimizer&, const lower::Storage&, const std::vector<run::OwnedShard>&, kernels::Device&,
                 const std::string& folder = {});

  /// One fused call per parameter group. `step` counts from 0; gradients are `divisor` times too large.
  void apply(std::vector<run::OwnedShard>& owned, int64_t step, double lr_factor, float divisor);

  /// What a checkpoint holds beside the weights, by role; one tensor per owned piece, fp32.
  std::map<std::string, std::vector<at::Tensor>>& state() { return state_; }
  /// In memory.
  int64_t bytes() const;

 private:
  Optimizer optimizer_;
  std::vector<bool> decays_;  // by owned piece
  std::unique_ptr<state::ScratchFile> file_;
  std::map<std::string, std::vector<at::Tensor>> state_;
};

}  // namespace shoal::session
