// How weights move: LibTorch's fused optimizers, and the learning rate over the steps.
#pragma once

#include <array>
#include <cstdint>
#include <variant>

namespace shoal {

/// Loshchilov and Hutter, "Decoupled weight decay regularization", 2019; LibTorch's _fused_adamw_. Weight
/// decay applies to parameters of two or more dims (weights of linear layers and embeddings), not to norms
/// and biases, unless decay_all.
struct AdamW {
  double lr = 1e-3;
  std::array<double, 2> betas = {0.9, 0.999};
  double eps = 1e-8;
  double weight_decay = 0.01;
  bool decay_all = false;
};

/// Stochastic gradient descent with (Nesterov) momentum; LibTorch's _fused_sgd_. Weight decay as in AdamW.
struct Sgd {
  double lr = 1e-2;
  double momentum = 0;
  double weight_decay = 0;
  bool nesterov = false;
  bool decay_all = false;
};

using Optimizer = std::variant<AdamW, Sgd>;

/// A factor on the learning rate: linear from 0 over the first warmup_steps, then a half cosine down to
/// `final_factor` at `total_steps` (Loshchilov and Hutter, "SGDR", 2017). total_steps 0: constant after the
/// warm-up.
struct LearningRateSchedule {
  int64_t warmup_steps = 0;
  int64_t total_steps = 0;
  double final_factor = 0.1;

  /// The factor of `step`, 0-based.
  double factor(int64_t step) const;
};

}  // namespace shoal
