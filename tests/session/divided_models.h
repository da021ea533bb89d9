// Trains a small model in several layouts with tensor chunks: one answer to the bit, that of an undivided run
// up to rounding.
#pragma once

#include <gtest/gtest.h>
#include <torch/torch.h>

#include <map>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "kernels/cpu/reproducible.h"
#include "shoal/shoal.h"

namespace shoal::test {

struct Trained {
  std::vector<float> losses;
  double evaluated = 0;
  std::map<std::string, at::Tensor> parameters;
  std::string plan;
};

struct DividedModel {
  TrainingModel model;
  std::function<Batch(int64_t sample_seed)> microbatch;
  double tolerance = 2e-4;  // of weights in fp32, after the steps, relative to the largest
  bool in_bf16 = true;      // false: LibTorch lacks a bf16 kernel for it
};

inline Trained train(const DividedModel& divided, const Layout& layout, int64_t chunks, Precision precision) {
  Trained trained;
  std::mutex mutex;
  World::threads(static_cast<int>(layout.devices()), [&](World& world) {
    Trainer trainer(world, divided.model,
                    {.optimizer = Sgd{.lr = 0.05, .momentum = 0.9},
                     .microbatches = 2,
                     .precision = precision,
                     .tensor_chunks = chunks,
                     .layout = layout});
    std::vector<float> losses;
    for (int64_t step = 0; step < 3; ++step)
      losses.push_back(trainer.step([&](int64_t m) { return divided.microbatch(10 * step + m); }).loss);
    const double evaluated = trainer.evaluate(2, divided.microbatch);
    std::map<std::string, at::Tensor> parameters;
    for (const auto& parameter : divided.model.module->named_parameters())
      parameters[parameter.key()] = trainer.parameter(parameter.key());
    const std::lock_guard lock(mutex);
    if (world.rank() == 0) trained = {losses, evaluated, parameters, trainer.plan()};
  });
  return trained;
}

/// Returns the plan of the run in 4 parts.
inline std::string expect_one_answer(const DividedModel& divided) {
  kernels::make_reproducible();
  torch::set_num_threads(1);
  std::string plan;
  for (const Precision precision : {Precision::kFP32, Precision::kBF16}) {
    const bool exact = precision == Precision::kFP32;
    if (!exact && !divided.in_bf16) continue;
    const Trained whole = train(divided, Layout{}, 1, precision);
    for (const int64_t chunks : {2, 4}) {
      SCOPED_TRACE((exact ? "fp32, parts " : "bf16, parts ") + std::to_string(chunks));
      const Trained alone = train(divided, Layout{}, chunks, precision);
      plan = alone.plan;
      for (size_t step = 0; step < whole.losses.size(); ++step)
        EXPECT_NEAR(alone.losses[step], whole.losses[step],
                    (exact ? divided.tolerance : 0.05) * std::max(1.0f, std::abs(whole.losses[step])));
      for (const auto& [name, value] : whole.parameters) {
        const double largest = value.to(at::kDouble).abs().max().item<double>() + 1e-3;
        const double off = (alone.parameters.at(name) - value).to(at::kDouble).abs().max().item<double>();
        if (exact) {
          EXPECT_LT(off / largest, divided.tolerance) << name;
        }
      }
      std::vector<Layout> layouts = {{.tp = 2}, {.dp = 2, .tp = 2}};
      if (chunks == 4) layouts.push_back({.tp = 4});
      for (const Layout& layout : layouts) {
        const Trained other = train(divided, layout, chunks, precision);
        EXPECT_EQ(other.losses, alone.losses) << print(layout);
        EXPECT_EQ(other.evaluated, alone.evaluated) << print(layout);
        for (const auto& [name, value] : alone.parameters)
          EXPECT_TRUE(at::equal(other.parameters.at(name), value)) << print(layout) << ": " << name;
      }
    }
  }
  return plan;
}

inline at::Tensor normal(std::vector<int64_t> shape, int64_t seed) {
  return torch::randn(shape, at::detail::createCPUGenerator(static_cast<uint64_t>(seed)));
}
inline at::Tensor classes(std::vector<int64_t> shape, int64_t count, int64_t seed) {
  const auto generator = at::detail::createCPUGenerator(static_cast<uint64_t>(seed) + 1000);
  return torch::randint(count, shape, generator, torch::kLong);
}

}  // namespace shoal::test
