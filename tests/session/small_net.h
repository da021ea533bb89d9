// A module with a batch norm and its batches, for tests that compare with an eager loop.
#pragma once

#include <torch/torch.h>

#include <mutex>

#include "shoal/shoal.h"

namespace shoal::test {

struct NetImpl : torch::nn::Module {
  NetImpl() {
    first = register_module("first", torch::nn::Linear(6, 12));
    norm = register_module("norm", torch::nn::BatchNorm1d(12));
    second = register_module("second", torch::nn::Linear(12, 3));
  }
  torch::Tensor forward(const torch::Tensor& x) { return second(torch::relu(norm(first(x)))); }
  torch::nn::Linear first{nullptr}, second{nullptr};
  torch::nn::BatchNorm1d norm{nullptr};
};
TORCH_MODULE(Net);

inline torch::Tensor loss(Net& net, const Batch& batch) {
  return torch::cross_entropy_loss(net(batch[0]), batch[1]);
}

inline Batch batch_of(int64_t i) {
  return {torch::sin(torch::arange(48, torch::kFloat).add(static_cast<float>(i) * 5)).view({8, 6}) + 0.3,
          torch::arange(i, i + 8).remainder(3)};
}

/// The same numbers each time, on threads too.
inline Net built() {
  static std::mutex one_at_a_time;
  const std::lock_guard lock(one_at_a_time);
  torch::manual_seed(4);
  return Net();
}

}  // namespace shoal::test
