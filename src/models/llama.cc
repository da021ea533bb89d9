#include "models/llama.h"

#include <torch/nn/functional/activation.h>
#include <torch/nn/functional/linear.h>
#include <torch/nn/init.h>

#include <cmath>

#include "models/documents.h"

namespace shoal::models {

namespace nn = torch::nn;

namespace {

nn::Linear linear(int64_t in, int64_t out) { return nn::Linear(nn::LinearOptions(in, out).bias(false)); }

int64_t hidden_of(const LlamaConfig& config) {
  return config.hidden > 0 ? config.hidden : (8 * config.width / 3 + 31) / 32 * 32;
}

// Position t turns the pair (i, i + S/2) of each head by t / base^(2i/S).
Rotation rotation_of(const LlamaConfig& config, int64_t tokens, c10::ScalarType dtype) {
  const int64_t S = config.width / config.heads;
  const auto exponents = torch::arange(0, S, 2, torch::kFloat) / static_cast<double>(S);
  const auto angles =
      torch::outer(torch::arange(tokens, torch::kFloat), torch::pow(config.rope_base, -exponents));
  return {angles.cos().to(dtype), angles.sin().to(dtype)};
}

torch::Tensor rotate(const torch::Tensor& x_BHTS, const Rotation& rotation) {
  const auto halves = x_BHTS.chunk(2, -1);
  return torch::cat({halves[0] * rotation.cos - halves[1] * rotation.sin,
                     halves[0] * rotation.sin + halves[1] * rotation.cos},
                    -1);
}

}  // namespace

RmsNormImpl::RmsNormImpl(int64_t width, double eps) : eps_(eps) {
  weight_ = register_parameter("weight", torch::ones({width}));
}

torch::Tensor RmsNormImpl::forward(torch::Tensor x) {
  const auto wide = x.to(torch::kFloat);
  const auto scale = torch::rsqrt(wide.pow(2).mean(-1, /*keepdim=*/true) + eps_);
  return (wide * scale).to(x.scalar_type()) * weight_;
}

LlamaBlockImpl::LlamaBlockImpl(const LlamaConfig& config)
    : heads_(config.heads), kv_heads_(config.kv_heads > 0 ? config.kv_heads : config.heads) {
  const int64_t D = config.width, S = D / heads_, hidden = hidden_of(config);
  norm1_ = register_module("norm1", RmsNorm(D, config.norm_eps));
  q_ = register_module("q", linear(D, D));
  k_ = register_module("k", linear(D, kv_heads_ * S));
  v_ = register_module("v", linear(D, kv_heads_ * S));
  projection_ = register_module("projection", linear(D, D));
  norm2_ = register_module("norm2", RmsNorm(D, config.norm_eps));
  gate_ = register_module("gate", linear(D, hidden));
  up_ = register_module("up", linear(D, hidden));
  down_ = register_module("down", linear(hidden, D));
}

torch::Tensor LlamaBlockImpl::forward(torch::Tensor x_BTD, const Rotation& rotation,
                                      const std::optional<torch::Tensor>& mask) {
  const int64_t B = x_BTD.size(0), T = x_BTD.size(1), D = x_BTD.size(2), S = D / heads_;
  const auto normed = norm1_(x_BTD);
  const auto by_heads = [&](nn::Linear& project, int64_t heads) {
    return project(normed).view({B, T, heads, S}).transpose(1, 2);
  };
  const auto attended = torch::scaled_dot_product_attention(
      rotate(by_heads(q_, heads_), rotation), rotate(by_heads(k_, kv_heads_), rotation),
      by_heads(v_, kv_heads_), mask, /*dropout_p=*/0.0,
      /*is_causal=*/!mask, /*scale=*/std::nullopt, /*enable_gqa=*/kv_heads_ != heads_);
  const auto x = x_BTD + projection_(attended.transpose(1, 2).reshape({B, T, D}));
  const auto normed2 = norm2_(x);
  return x + down_(torch::silu(gate_(normed2)) * up_(normed2));
}

LlamaImpl::LlamaImpl(const LlamaConfig& config) : config_(config) {
  tokens_ = register_module("tokens", nn::Embedding(config.vocabulary, config.width));
  blocks_ = register_module("blocks", nn::ModuleList());
  for (int64_t layer = 0; layer < config.layers; ++layer) blocks_->push_back(LlamaBlock(config));
  norm_ = register_module("norm", RmsNorm(config.width, config.norm_eps));
  if (!config.tied_head) head_ = register_module("head", linear(config.width, config.vocabulary));

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

torch::Tensor LlamaImpl::forward(torch::Tensor tokens_BT) {
  auto x = tokens_(tokens_BT);
  const Rotation rotation = rotation_of(config_, tokens_BT.size(1), x.scalar_type());
  const auto mask = document_mask(tokens_BT, config_.end_of_document);
  for (const auto& block : *blocks_) x = block->as<LlamaBlock>()->forward(x, rotation, mask);
  return torch::linear(norm_(x), head_ ? head_->weight : tokens_->weight);
}

}  // namespace shoal::models
