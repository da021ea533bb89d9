#include "models/gpt.h"

#include <torch/nn/functional/activation.h>
#include <torch/nn/functional/dropout.h>
#include <torch/nn/functional/linear.h>
#include <torch/nn/init.h>

#include <cmath>

#include "models/documents.h"

namespace shoal::models {

namespace nn = torch::nn;

GptBlockImpl::GptBlockImpl(const GptConfig& config) : heads_(config.heads), dropout_(config.dropout) {
  const int64_t width = config.width;
  norm1_ = register_module("norm1", nn::LayerNorm(nn::LayerNormOptions({width})));
  qkv_ = register_module("qkv", nn::Linear(width, 3 * width));
  projection_ = register_module("projection", nn::Linear(width, width));
  norm2_ = register_module("norm2", nn::LayerNorm(nn::LayerNormOptions({width})));
  up_ = register_module("up", nn::Linear(width, 4 * width));
  down_ = register_module("down", nn::Linear(4 * width, width));
}

torch::Tensor GptBlockImpl::forward(torch::Tensor x_BTD, const std::optional<torch::Tensor>& mask) {
  const int64_t B = x_BTD.size(0), T = x_BTD.size(1), D = x_BTD.size(2);
  // One product for query, key and value, ordered (head, q|k|v, dim), so that a run of rows is a run of
  // heads.
  const auto qkv = qkv_(norm1_(x_BTD)).view({B, T, heads_, 3, D / heads_}).permute({3, 0, 2, 1, 4}).unbind(0);
  const auto attended = torch::scaled_dot_product_attention(qkv[0], qkv[1], qkv[2], mask, /*dropout_p=*/0.0,
                                                            /*is_causal=*/!mask);
  const auto mixed = projection_(attended.transpose(1, 2).reshape({B, T, D}));
  const auto x = x_BTD + torch::dropout(mixed, dropout_, is_training());
  return x + torch::dropout(down_(torch::gelu(up_(norm2_(x)), "tanh")), dropout_, is_training());
}

GptImpl::GptImpl(const GptConfig& config)
    : dropout_(config.dropout), end_of_document_(config.end_of_document) {
  tokens_ = register_module("tokens", nn::Embedding(config.vocabulary, config.width));
  positions_ = register_module("positions", nn::Embedding(config.context, config.width));
  blocks_ = register_module("blocks", nn::ModuleList());
  for (int64_t layer = 0; layer < config.layers; ++layer) blocks_->push_back(GptBlock(config));
  norm_ = register_module("norm", nn::LayerNorm(nn::LayerNormOptions({config.width})));
  if (!config.tied_head)
    head_ =
        register_module("head", nn::Linear(nn::LinearOptions(config.width, config.vocabulary).bias(false)));

  const torch::NoGradGuard no_grad;
  for (const auto& parameter : named_parameters()) {
    if (parameter.value().dim() < 2) continue;
    // Residual projections are smaller, so that the stream's variance does not grow with depth.
    const bool residual =
        parameter.key().ends_with("projection.weight") || parameter.key().ends_with("down.weight");
    nn::init::normal_(parameter.value(), 0.0,
                      residual ? 0.02 / std::sqrt(2.0 * static_cast<double>(config.layers)) : 0.02);
  }
}

torch::Tensor GptImpl::forward(torch::Tensor tokens_BT) {
  auto x = tokens_(tokens_BT) + positions_(torch::arange(tokens_BT.size(1), tokens_BT.options()));
  x = torch::dropout(x, dropout_, is_training());
  const auto mask = document_mask(tokens_BT, end_of_document_);
  for (const auto& block : *blocks_) x = block->as<GptBlock>()->forward(x, mask);
  return torch::linear(norm_(x), head_ ? head_->weight : tokens_->weight);
}

}  // namespace shoal::models
