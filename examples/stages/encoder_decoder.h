// An encoder and a decoder: cut in stages, what the encoder made goes to every stage of the decoder that reads it.
#pragma once

#include "attention.h"

struct EncoderDecoderImpl : torch::nn::Module {
  static constexpr int64_t kVocabulary = 16, kContext = 8, kWidth = 64, kBlocks = 2;

  EncoderDecoderImpl() {
    for (int64_t i = 0; i < kBlocks; ++i) {
      encoder->push_back(Block(kWidth, /*causal=*/false, /*reads_memory=*/false));
      decoder->push_back(Block(kWidth, /*causal=*/true, /*reads_memory=*/true));
    }
  }
  /// What is read, and what has been written so far, [B, T] each -> what is to be written next, [B, T, vocabulary]
  torch::Tensor forward(const torch::Tensor& read_BT, const torch::Tensor& written_BT) {
    torch::Tensor memory = read(read_BT), x = written(written_BT);
    for (const auto& block : *encoder) memory = block->as<Block>()->forward(memory);
    for (const auto& block : *decoder) x = block->as<Block>()->forward(x, memory);
    return head(norm(x));
  }
  Embeddings read{register_module("read", Embeddings(kVocabulary, kContext, kWidth))};
  torch::nn::ModuleList encoder{register_module("encoder", torch::nn::ModuleList())};
  Embeddings written{register_module("written", Embeddings(kVocabulary, kContext, kWidth))};
  torch::nn::ModuleList decoder{register_module("decoder", torch::nn::ModuleList())};
  torch::nn::LayerNorm norm{register_module("norm", torch::nn::LayerNorm(torch::nn::LayerNormOptions({kWidth})))};
  torch::nn::Linear head{register_module("head", torch::nn::Linear(kWidth, kVocabulary))};
};
TORCH_MODULE(EncoderDecoder);

/// Sequences of tokens above 0, and the same reversed; 0 begins what is written.
inline std::vector<torch::Tensor> reversals(int64_t samples) {
  const auto sequence = torch::randint(1, EncoderDecoderImpl::kVocabulary, {samples, EncoderDecoderImpl::kContext}, torch::kLong);
  const auto reversed = sequence.flip(1);
  const auto written = torch::cat({torch::zeros({samples, 1}, torch::kLong), reversed.slice(1, 0, -1)}, 1);
  return {sequence, written, reversed};
}

inline torch::Tensor loss_of(EncoderDecoder& model, const std::vector<torch::Tensor>& batch) {
  return torch::cross_entropy_loss(model(batch[0], batch[1]).flatten(0, 1), batch[2].flatten());
}
