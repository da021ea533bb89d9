// What people do with ordinary LibTorch code, tried against eager: each is equal to the bit, or refused.
#pragma once

#include <gtest/gtest.h>
#include <torch/torch.h>

#include <algorithm>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "comm/comm.h"
#include "shoal/shoal.h"

namespace shoal::test {

inline constexpr int64_t kIdiomSteps = 4;

/// One idiom: a module, a loss and what the program does before each step. Made afresh for each side, so that
/// what its functions capture is not shared.
template <class Net>
struct Idiom {
  std::function<Net()> make;
  std::function<torch::Tensor(Net&, const Batch&)> loss;
  std::function<void(int64_t step, Net&)> before = {};
  int64_t microbatches = 2;
  std::function<void(int64_t step, int64_t microbatch)> data = {};  // what the data function does besides
};

/// What a side came to: losses, then tensors by name; or the sentence that refused it.
struct Seen {
  std::vector<float> losses;
  std::map<std::string, torch::Tensor> tensors;
  std::string refused;
};

/// Samples [4, 6] and targets [4], of (step, microbatch) alone.
inline Batch idiom_batch(int64_t step, int64_t microbatch) {
  const auto generator = at::detail::createCPUGenerator(static_cast<uint64_t>(100 * step + microbatch + 1));
  return {torch::randn({4, 6}, generator), torch::randint(3, {4}, generator, torch::kLong)};
}

/// The plain loop: gradients of two microbatches added, LibTorch's fused SGD with momentum.
template <class Net>
Seen eagerly(const Idiom<Net>& idiom) {
  torch::manual_seed(3);
  Net net = idiom.make();
  Seen seen;
  std::map<const c10::TensorImpl*, torch::Tensor> momentum;
  for (int64_t step = 0; step < kIdiomSteps; ++step) {
    if (idiom.before) idiom.before(step, net);
    std::vector<torch::Tensor> trained;  // each once, as LibTorch's optimizers insist
    for (const auto& parameter : net->parameters())
      if (parameter.requires_grad() &&
          std::none_of(trained.begin(), trained.end(), [&](const auto& other) { return other.is_same(parameter); }))
        trained.push_back(parameter);
    double sum = 0;
    std::vector<std::vector<torch::Tensor>> gradients;
    for (int64_t m = 0; m < idiom.microbatches; ++m) {
      if (idiom.data) idiom.data(step, m);
      const torch::Tensor loss = idiom.loss(net, idiom_batch(step, m));
      sum += loss.detach().template item<double>();
      gradients.push_back(torch::autograd::grad({loss}, trained, {}, std::nullopt, false, true));
    }
    seen.losses.push_back(static_cast<float>(sum / idiom.microbatches));
    const torch::NoGradGuard no_grad;
    for (size_t i = 0; i < trained.size(); ++i) {
      if (!gradients[0][i].defined()) continue;
      torch::Tensor gradient = gradients[0][i];
      for (size_t m = 1; m < gradients.size(); ++m) gradient = gradient + gradients[m][i];
      auto [entry, first] = momentum.try_emplace(trained[i].unsafeGetTensorImpl(), torch::zeros_like(trained[i]));
      at::_fused_sgd_({trained[i]}, {gradient.contiguous()}, {entry->second}, 0.0, 0.9, 0.1, 0.0, false, false, first,
                      torch::full({}, static_cast<float>(idiom.microbatches)));
    }
  }
  for (const auto& parameter : net->named_parameters()) seen.tensors[parameter.key()] = parameter.value().detach().clone();
  for (const auto& buffer : net->named_buffers()) seen.tensors[buffer.key()] = buffer.value().detach().clone();
  return seen;
}

/// The same by a Trainer on one device.
template <class Net>
Seen by_trainer(const Idiom<Net>& idiom) {
  torch::manual_seed(3);
  Seen seen;
  try {
    World world(comm::single());
    Net net = idiom.make();
    Trainer trainer(world, net, idiom.loss,
                    {.optimizer = Sgd{.lr = 0.1, .momentum = 0.9}, .microbatches = idiom.microbatches});
    for (int64_t step = 0; step < kIdiomSteps; ++step) {
      if (idiom.before) idiom.before(step, net);
      seen.losses.push_back(trainer.step([&](int64_t m) {
        if (idiom.data) idiom.data(step, m);
        return idiom_batch(step, m);
      }).loss);
    }
    for (const auto& tensors : {net->named_parameters(), net->named_buffers()})
      for (const auto& named : tensors) {
        seen.tensors[named.key()] = trainer.parameter(named.key());
        EXPECT_TRUE(torch::equal(named.value(), seen.tensors[named.key()]))
            << named.key() << ": the module shows other numbers than the trainer";
      }
  } catch (const Error& error) {
    seen.refused = error.what();
  }
  return seen;
}

enum class Want { kEqual, kRefused };

/// Where a weight is used twice in forward, eager adds the gradients of one microbatch before those of the next;
/// we add use by use (docs/numerics.md). With one microbatch the two are alike.
template <class Fresh>
auto one_microbatch(const Fresh& fresh) {
  return [fresh] {
    auto idiom = fresh();
    idiom.microbatches = 1;
    return idiom;
  };
}

/// `fresh()` makes the idiom. kRefused: `sentence` is part of what is said.
template <class Fresh>
void try_idiom(const std::string& name, const Fresh& fresh, Want want = Want::kEqual, const std::string& sentence = "") {
  SCOPED_TRACE(name);
  const Seen got = by_trainer(fresh());
  EXPECT_EQ(got.refused.find("internal error"), std::string::npos) << got.refused;
  EXPECT_EQ(got.refused.find('\n'), std::string::npos) << got.refused;
  if (want == Want::kRefused) {
    EXPECT_FALSE(got.refused.empty()) << "it was not refused";
    EXPECT_NE(got.refused.find(sentence), std::string::npos) << got.refused;
    return;
  }
  EXPECT_EQ(got.refused, "");
  if (!got.refused.empty()) return;
  const Seen eager = eagerly(fresh());
  EXPECT_EQ(got.losses, eager.losses);
  for (const auto& [key, tensor] : eager.tensors) {
    ASSERT_TRUE(got.tensors.contains(key)) << key;
    EXPECT_TRUE(torch::equal(got.tensors.at(key), tensor)) << key;
  }
}

/// Two linear layers with something in between; most idioms need no more.
struct TwoLayersImpl : torch::nn::Module {
  torch::nn::Linear hidden{register_module("hidden", torch::nn::Linear(6, 8))};
  torch::nn::Linear out{register_module("out", torch::nn::Linear(8, 3))};
  torch::Tensor features(const torch::Tensor& x) { return torch::tanh(hidden(x)); }
  torch::Tensor forward(const torch::Tensor& x) { return out(features(x)); }
};
TORCH_MODULE(TwoLayers);

template <class Net>
torch::Tensor classify(Net& net, const Batch& batch) {
  return torch::cross_entropy_loss(net->forward(batch[0]), batch[1]);
}

}  // namespace shoal::test
