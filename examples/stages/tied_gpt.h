// A GPT whose head is its token embedding: cut in stages, the first and the last of them have that weight.
#pragma once

#include "attention.h"

struct TiedGptImpl : torch::nn::Module {
  static constexpr int64_t kVocabulary = 48, kContext = 16, kWidth = 64, kBlocks = 4;

  TiedGptImpl() {
    for (int64_t i = 0; i < kBlocks; ++i) blocks->push_back(Block(kWidth, /*causal=*/true, /*reads_memory=*/false));
  }
  /// [B, T] -> [B, T, vocabulary]
  torch::Tensor forward(const torch::Tensor& tokens_BT) {
    torch::Tensor x = embeddings(tokens_BT);
    for (const auto& block : *blocks) x = block->as<Block>()->forward(x);
    return torch::linear(norm(x), embeddings->tokens->weight);
  }
  Embeddings embeddings{register_module("embeddings", Embeddings(kVocabulary, kContext, kWidth))};
  torch::nn::ModuleList blocks{register_module("blocks", torch::nn::ModuleList())};
  torch::nn::LayerNorm norm{register_module("norm", torch::nn::LayerNorm(torch::nn::LayerNormOptions({kWidth})))};
};
TORCH_MODULE(TiedGpt);

/// A walk over the vocabulary, 5 t + 1 after t, and what follows each token.
inline std::vector<torch::Tensor> walks(int64_t samples) {
  std::vector<torch::Tensor> tokens = {torch::randint(TiedGptImpl::kVocabulary, {samples})};
  while (std::ssize(tokens) <= TiedGptImpl::kContext)
    tokens.push_back((5 * tokens.back() + 1).remainder(TiedGptImpl::kVocabulary));
  const auto all = torch::stack(tokens, 1).to(torch::kLong);
  return {all.slice(1, 0, -1).contiguous(), all.slice(1, 1).contiguous()};
}

inline torch::Tensor loss_of(TiedGpt& gpt, const std::vector<torch::Tensor>& batch) {
  return torch::cross_entropy_loss(gpt(batch[0]).flatten(0, 1), batch[1].flatten());
}
