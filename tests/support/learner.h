// One scenario, played twice: by a Trainer, and by the plain LibTorch loop that it must equal.
#pragma once

#include <gtest/gtest.h>
#include <torch/torch.h>

#include <functional>
#include <mutex>
#include <string>
#include <vector>

#include "shoal/shoal.h"

namespace shoal::test {

inline constexpr double kRate = 0.1;
inline constexpr int64_t kMicrobatches = 2;

template <class Holder>
using Loss = std::function<torch::Tensor(Holder&, const Batch&)>;

/// Trains with plain gradient descent on two microbatches.
template <class Holder>
class EagerLearner {
 public:
  EagerLearner(World&, const Holder& module, Loss<Holder> loss) : module_(module), loss_(std::move(loss)) {}

  void step(const Batch& batch) {
    const std::vector<torch::Tensor> parameters = module_->parameters();
    std::vector<torch::Tensor> sums;
    for (int64_t m = 0; m < kMicrobatches; ++m) {
      Batch part;
      for (const torch::Tensor& tensor : batch) part.push_back(tensor.chunk(kMicrobatches)[static_cast<size_t>(m)]);
      const auto gradients =
          torch::autograd::grad({loss_(module_, part)}, trained(parameters), {}, false, false, /*allow_unused=*/true);
      for (size_t i = 0; i < gradients.size(); ++i)
        if (m == 0)
          sums.push_back(gradients[i]);
        else
          sums[i] = sums[i] + gradients[i];
    }
    const torch::NoGradGuard no_grad;
    const auto leaves = trained(parameters);
    for (size_t i = 0; i < leaves.size(); ++i) {
      torch::Tensor leaf = leaves[i], gradient = sums[i].clone();
      at::_fused_sgd_({leaf}, {gradient}, {}, 0.0, 0.0, kRate, 0.0, false, false, false,
                      torch::full({}, static_cast<float>(kMicrobatches)));
    }
  }
  torch::Tensor parameter(const std::string& name) const {
    return module_->named_parameters()[name].detach().clone();
  }

 private:
  static std::vector<torch::Tensor> trained(const std::vector<torch::Tensor>& all) {
    std::vector<torch::Tensor> leaves;
    for (const torch::Tensor& parameter : all)
      if (parameter.requires_grad()) leaves.push_back(parameter);
    return leaves;
  }
  Holder module_;
  Loss<Holder> loss_;
};

template <class Holder>
class OurLearner {
 public:
  template <class Model>
  OurLearner(World& world, const Model& model, Loss<Holder> loss, uint64_t seed = 1)
      : trainer_(world, model, std::move(loss),
                 {.optimizer = Sgd{.lr = kRate}, .microbatches = kMicrobatches, .seed = seed}) {}
  void step(const Batch& batch) { trainer_.step(batch); }
  torch::Tensor parameter(const std::string& name) const { return trainer_.parameter(name); }
  Trainer& trainer() { return trainer_; }

 private:
  Trainer trainer_;
};

/// The scenario's tensors, by us on 1 and 2 devices, alike to the bit; and by the loop, which adds the gradients
/// of a tensor that is used twice in another order.
inline void expect_like_eager(const std::function<std::vector<torch::Tensor>(World&)>& ours,
                              const std::function<std::vector<torch::Tensor>(World&)>& eager) {
  std::vector<torch::Tensor> first;
  std::mutex mutex;
  for (const int devices : {1, 2}) {
    World::threads(devices, [&](World& world) {
      static std::mutex one_at_a_time;  // LibTorch's generator is the process's
      std::vector<torch::Tensor> want;
      {
        const std::lock_guard lock(one_at_a_time);
        want = eager(world);
      }
      const std::vector<torch::Tensor> got = ours(world);
      ASSERT_EQ(got.size(), want.size());
      const std::lock_guard lock(mutex);
      if (first.empty()) first = got;
      for (size_t i = 0; i < got.size(); ++i) EXPECT_TRUE(torch::equal(got[i], first[i])) << "tensor " << i;
      for (size_t i = 0; i < got.size(); ++i)
        EXPECT_TRUE(torch::allclose(got[i], want[i], 1e-5, 1e-6))
            << "tensor " << i << " on " << devices << " devices differs by at most "
            << (got[i].to(torch::kDouble) - want[i].to(torch::kDouble)).abs().max().item<double>();
    });
  }
}

}  // namespace shoal::test
