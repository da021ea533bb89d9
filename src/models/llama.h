// A Llama style decoder: plain LibTorch, knows nothing of Shoal (Touvron et al., "LLaMA: open and efficient
// foundation language models", 2023; grouped-query attention: Ainslie et al., "GQA", 2023). Shapes: B
// samples, T tokens, D width, H heads, K key/value heads, S numbers per head, V vocabulary.
#pragma once

#include <torch/nn/module.h>
#include <torch/nn/modules/container/modulelist.h>
#include <torch/nn/modules/embedding.h>
#include <torch/nn/modules/linear.h>

#include <optional>

namespace shoal::models {

struct LlamaConfig {
  int64_t vocabulary = 256;
  int64_t layers = 4;
  int64_t width = 256;  // a multiple of 2 x heads
  int64_t heads = 4;
  int64_t kv_heads = 0;    // a divisor of heads; 0: as many as heads
  int64_t hidden = 0;      // of the gated layer; 0: 8/3 width, rounded up to a multiple of 32
  bool tied_head = false;  // the head's weight is the token embedding
  double rope_base = 1e4;  // of the rotary frequencies
  double norm_eps = 1e-5;
  int64_t end_of_document = -1;  // attention stays between two such tokens; -1: it sees all that came before
};

/// x / rms(x) * weight over the last dim, worked out in fp32 (Zhang and Sennrich, "Root mean square layer
/// normalization", 2019).
class RmsNormImpl : public torch::nn::Module {
 public:
  RmsNormImpl(int64_t width, double eps);
  torch::Tensor forward(torch::Tensor x);

 private:
  double eps_;
  torch::Tensor weight_;
};
TORCH_MODULE(RmsNorm);

/// The cosines and sines of the rotary embedding, [T, S/2] each (Su et al., "RoFormer", 2021).
struct Rotation {
  torch::Tensor cos, sin;
};

class LlamaBlockImpl : public torch::nn::Module {
 public:
  explicit LlamaBlockImpl(const LlamaConfig& config);
  /// mask: bool, [B,1,T,T]; none: each token sees all before it.
  torch::Tensor forward(torch::Tensor x_BTD, const Rotation& rotation,
                        const std::optional<torch::Tensor>& mask);

 private:
  int64_t heads_, kv_heads_;
  RmsNorm norm1_{nullptr}, norm2_{nullptr};
  torch::nn::Linear q_{nullptr}, k_{nullptr}, v_{nullptr}, projection_{nullptr};
  torch::nn::Linear gate_{nullptr}, up_{nullptr}, down_{nullptr};
};
TORCH_MODULE(LlamaBlock);

class LlamaImpl : public torch::nn::Module {
 public:
  explicit LlamaImpl(const LlamaConfig& config);
  /// tokens [B,T] -> logits [B,T,V]
  torch::Tensor forward(torch::Tensor tokens_BT);

 private:
  LlamaConfig config_;
  torch::nn::Embedding tokens_{nullptr};
  torch::nn::ModuleList blocks_{nullptr};
  RmsNorm norm_{nullptr};
  torch::nn::Linear head_{nullptr};
};
TORCH_MODULE(Llama);

}  // namespace shoal::models
