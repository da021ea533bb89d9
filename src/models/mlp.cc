#include "models/mlp.h"

#include <torch/nn/functional/activation.h>
#include <torch/nn/functional/dropout.h>

namespace shoal::models {

MlpImpl::MlpImpl(const MlpConfig& config) : dropout_(config.dropout) {
  layers_ = register_module("layers", torch::nn::ModuleList());
  int64_t in = config.inputs;
  for (int64_t layer = 0; layer < config.layers; ++layer) {
    layers_->push_back(torch::nn::Linear(in, config.width));
    in = config.width;
  }
  layers_->push_back(torch::nn::Linear(in, config.outputs));
}

torch::Tensor MlpImpl::forward(torch::Tensor x) {
  for (size_t layer = 0; layer + 1 < layers_->size(); ++layer)
    x = torch::dropout(torch::relu(layers_[layer]->as<torch::nn::Linear>()->forward(x)), dropout_,
                       is_training());
  return layers_[layers_->size() - 1]->as<torch::nn::Linear>()->forward(x);
}

}  // namespace shoal::models
