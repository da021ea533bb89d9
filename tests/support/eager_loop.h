// The plain LibTorch loop that a run on one device must equal to the bit: same fused optimizer, microbatches
// added by the same tree.
#pragma once

#include <torch/torch.h>

#include <functional>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "base/random.h"

namespace shoal::test {

/// The sum over the tree on [0, n): splits at the largest power of two below n.
inline torch::Tensor tree_sum(const std::vector<torch::Tensor>& leaves, size_t begin, size_t end) {
  if (end - begin == 1) return leaves[begin];
  size_t half = 1;
  while (half * 2 < end - begin) half *= 2;
  return tree_sum(leaves, begin, begin + half) + tree_sum(leaves, begin + half, end);
}

struct EagerAdamW {
  double lr, beta1, beta2, eps, weight_decay;
};

/// `steps` steps; returns the losses. `loss(step, microbatch)` runs forward. Weights of two or more dims
/// decay.
inline std::vector<float> eager_adamw_loop(torch::nn::Module& module, int64_t steps, int64_t microbatches,
                                           const EagerAdamW& adamw,
                                           const std::function<torch::Tensor(int64_t, int64_t)>& loss) {
  const std::vector<torch::Tensor> parameters = module.parameters();
  std::vector<torch::Tensor> exp_avg, exp_avg_sq;
  for (const torch::Tensor& p : parameters) {
    exp_avg.push_back(torch::zeros_like(p));
    exp_avg_sq.push_back(torch::zeros_like(p));
  }
  std::vector<float> losses;
  for (int64_t step = 0; step < steps; ++step) {
    std::vector<std::vector<torch::Tensor>> gradients(parameters.size());
    double sum = 0;
    std::vector<torch::Tensor> microbatch_losses;
    for (int64_t m = 0; m < microbatches; ++m) {
      const torch::Tensor value = loss(step, m);
      microbatch_losses.push_back(value.detach().to(torch::kDouble));
      const auto grads = torch::autograd::grad({value}, parameters);
      for (size_t i = 0; i < parameters.size(); ++i) gradients[i].push_back(grads[i]);
    }
    sum = tree_sum(microbatch_losses, 0, microbatch_losses.size()).item<double>();
    losses.push_back(static_cast<float>(sum / static_cast<double>(microbatches)));

    const torch::NoGradGuard no_grad;
    const torch::Tensor divisor = torch::full({}, static_cast<float>(microbatches));
    const torch::Tensor count = torch::full({}, static_cast<float>(step + 1));
    for (size_t i = 0; i < parameters.size(); ++i) {
      const torch::Tensor gradient = tree_sum(gradients[i], 0, gradients[i].size()).clone();
      at::_fused_adamw_({parameters[i]}, {gradient}, {exp_avg[i]}, {exp_avg_sq[i]}, {}, {count}, adamw.lr,
                        adamw.beta1, adamw.beta2, parameters[i].dim() >= 2 ? adamw.weight_decay : 0.0,
                        adamw.eps, false, false, divisor);
    }
  }
  return losses;
}

/// Tokens that depend on (step, microbatch) alone.
inline std::vector<torch::Tensor> random_tokens(int64_t step, int64_t microbatch, int64_t samples,
                                                int64_t length, int64_t vocabulary) {
  torch::Tensor tokens = torch::empty({samples, length + 1}, torch::kLong);
  auto* data = tokens.data_ptr<int64_t>();
  for (int64_t i = 0; i < tokens.numel(); ++i)
    data[i] = static_cast<int64_t>(random_bits(static_cast<uint64_t>(step) + 1,
                                               static_cast<uint64_t>(microbatch), static_cast<uint64_t>(i)) %
                                   static_cast<uint64_t>(vocabulary));
  return {tokens.slice(1, 0, length).contiguous(), tokens.slice(1, 1, length + 1).contiguous()};
}

}  // namespace shoal::test
