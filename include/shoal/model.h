// A model as Shoal takes it: an unchanged torch::nn::Module, described (no memory yet) or built.
#pragma once

#include <torch/nn/module.h>
#include <torch/nn/pimpl.h>

#include <functional>
#include <memory>
#include <type_traits>
#include <vector>

namespace shoal {

/// Tensors with one common first dim: the samples.
using Batch = std::vector<at::Tensor>;

/// What numbers the model computes in. Weights and optimizer state are kept in fp32 either way
/// (docs/numerics.md).
enum class Precision { kFP32, kBF16 };

/// How the parameters of a described module get their first numbers: the constructor's own operators,
/// recorded.
class Initialisation;

/// A module whose constructor ran without memory: parameters have shapes, and a recorded initialisation
/// instead of numbers. Copying shares the module.
template <class Holder>
struct Described {
  Holder module;
  std::shared_ptr<const Initialisation> initialisation;
};

namespace detail {
std::shared_ptr<const Initialisation> record_initialisation(
    const std::function<std::shared_ptr<torch::nn::Module>()>& construct);
}

/// Runs `construct` (returns a module holder: TORCH_MODULE's type) on ghost tensors. Its random numbers are
/// drawn later, by the Trainer, with the same bits as torch::manual_seed(seed) followed by the constructor
/// itself. Throws InputError when the constructor reads numbers of a tensor that it made.
template <class Construct>
auto describe(Construct&& construct) {
  using Holder = std::decay_t<std::invoke_result_t<Construct>>;
  Holder module{nullptr};
  auto initialisation = detail::record_initialisation([&]() -> std::shared_ptr<torch::nn::Module> {
    module = construct();
    return module.ptr();
  });
  return Described<Holder>{module, initialisation};
}

/// A model and what to minimise, without their types: what Trainer and check_capture work on.
struct TrainingModel {
  std::shared_ptr<torch::nn::Module> module;
  std::shared_ptr<const Initialisation> initialisation;  // null: the module has its numbers
  // One microbatch -> one number, a mean over its samples. A step's loss is the plain mean of its
  // microbatches' losses. A mean over what is valid in each (unpadded tokens, labels that are not ignored)
  // therefore weighs a token of a microbatch with few of them more than one of a full microbatch; and a
  // microbatch without any gives NaN, which ends the step. For the mean over all valid tokens of the global
  // batch let the loss be their sum times a factor that the batch brings: microbatches / number of valid
  // tokens in the global batch (docs/numerics.md, "losses and clipping").
  std::function<at::Tensor(const Batch&)> loss;
};

/// `loss(module, batch)` gives a scalar tensor.
template <class Holder, class Loss>
TrainingModel with_loss(const Described<Holder>& model, Loss loss) {
  return {model.module.ptr(), model.initialisation,
          [module = model.module, loss](const Batch& batch) mutable { return loss(module, batch); }};
}
template <class Holder, class Loss>
requires std::is_base_of_v<torch::nn::Module, typename Holder::ContainedType> TrainingModel
with_loss(const Holder& model, Loss loss) {
  return {model.ptr(), nullptr,
          [module = model, loss](const Batch& batch) mutable { return loss(module, batch); }};
}

/// Captures `model` twice on the shapes of `batch`, and replays two microbatches and an evaluation against
/// eager LibTorch, in the module's modes and with the random numbers that training draws. Throws JobError
/// naming the first difference: two captures that read differently (the model depends on state of the host),
/// or a loss, a gradient or a buffer afterwards that is not bit-equal to eager; InputError for what a Trainer
/// would refuse and for what the model's own code throws. Leaves the module as it was.
void check_capture(const TrainingModel& model, const Batch& batch, Precision precision = Precision::kFP32);

template <class Model, class Loss>
void check_capture(const Model& model, Loss loss, const Batch& batch,
                   Precision precision = Precision::kFP32) {
  check_capture(with_loss(model, loss), batch, precision);
}

}  // namespace shoal
