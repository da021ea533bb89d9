// A GPT-2 style decoder: plain LibTorch, knows nothing of Shoal (Radford et al., "Language models are
// unsupervised multitask learners", 2019). Shapes: B samples, T tokens, D width, H heads, V vocabulary.
#pragma once

#include <torch/nn/module.h>
#include <torch/nn/modules/container/modulelist.h>
#include <torch/nn/modules/embedding.h>
#include <torch/nn/modules/linear.h>
#include <torch/nn/modules/normalization.h>

#include <optional>

namespace shoal::models {

struct GptConfig {
  int64_t vocabulary = 256;
  int64_t layers = 4;
  int64_t width = 256;
  int64_t heads = 4;
  int64_t context = 256;
  double dropout = 0;
  bool tied_head = false;  // the head's weight is the token embedding
  int64_t end_of_document = -1;  // attention stays between two such tokens; -1: it sees all that came before
};

class GptBlockImpl : public torch::nn::Module {
 public:
  explicit GptBlockImpl(const GptConfig& config);
  /// mask: bool, [B,1,T,T]; none: each token sees all before it.
  torch::Tensor forward(torch::Tensor x_BTD, const std::optional<torch::Tensor>& mask);

 private:
  int64_t heads_;
  double dropout_;
  torch::nn::LayerNorm norm1_{nullptr}, norm2_{nullptr};
  torch::nn::Linear qkv_{nullptr}, projection_{nullptr}, up_{nullptr}, down_{nullptr};
};
TORCH_MODULE(GptBlock);

class GptImpl : public torch::nn::Module {
 public:
  explicit GptImpl(const GptConfig& config);
  /// tokens [B,T] -> logits [B,T,V]
  torch::Tensor forward(torch::Tensor tokens_BT);

 private:
  double dropout_;
  int64_t end_of_document_;
  torch::nn::Embedding tokens_{nullptr}, positions_{nullptr};
  torch::nn::ModuleList blocks_{nullptr};
  torch::nn::LayerNorm norm_{nullptr};
  torch::nn::Linear head_{nullptr};
};
TORCH_MODULE(Gpt);

}  // namespace shoal::models
