// What the two language models are made of. Shapes: B samples, T tokens, D width.
#pragma once

#include <torch/torch.h>

/// Attention of x to `source` with several heads.
struct AttentionImpl : torch::nn::Module {
  AttentionImpl(int64_t width, int64_t heads) : heads(heads) {
    for (auto* linear : {&query, &key, &value, &out}) *linear = torch::nn::Linear(width, width);
    register_module("query", query), register_module("key", key);
    register_module("value", value), register_module("out", out);
  }
  torch::Tensor forward(const torch::Tensor& x_BTD, const torch::Tensor& source_BTD, bool causal) {
    const auto split = [&](const torch::Tensor& t) {
      return t.view({t.size(0), t.size(1), heads, -1}).transpose(1, 2);
    };
    const auto mixed = torch::scaled_dot_product_attention(split(query(x_BTD)), split(key(source_BTD)),
                                                           split(value(source_BTD)), {}, 0.0, causal);
    return out(mixed.transpose(1, 2).flatten(2));
  }
  int64_t heads;
  torch::nn::Linear query{nullptr}, key{nullptr}, value{nullptr}, out{nullptr};
};
TORCH_MODULE(Attention);

/// Attention to the tokens themselves (to earlier ones where it is causal), to `memory` where there is one, and an MLP.
struct BlockImpl : torch::nn::Module {
  BlockImpl(int64_t width, bool causal, bool reads_memory) : causal(causal) {
    const auto norm = [&] { return torch::nn::LayerNorm(torch::nn::LayerNormOptions({width})); };
    norm1 = register_module("norm1", norm());
    self = register_module("self", Attention(width, 4));
    if (reads_memory) {
      norm2 = register_module("norm2", norm());
      cross = register_module("cross", Attention(width, 4));
    }
    norm3 = register_module("norm3", norm());
    up = register_module("up", torch::nn::Linear(width, 4 * width));
    down = register_module("down", torch::nn::Linear(4 * width, width));
  }
  torch::Tensor forward(torch::Tensor x_BTD, const torch::Tensor& memory_BTD = {}) {
    const auto normed = norm1(x_BTD);
    x_BTD = x_BTD + self(normed, normed, causal);
    if (memory_BTD.defined()) x_BTD = x_BTD + cross(norm2(x_BTD), memory_BTD, false);
    return x_BTD + down(torch::gelu(up(norm3(x_BTD))));
  }
  bool causal;
  torch::nn::LayerNorm norm1{nullptr}, norm2{nullptr}, norm3{nullptr};
  Attention self{nullptr}, cross{nullptr};
  torch::nn::Linear up{nullptr}, down{nullptr};
};
TORCH_MODULE(Block);

/// Tokens and their places as vectors.
struct EmbeddingsImpl : torch::nn::Module {
  EmbeddingsImpl(int64_t vocabulary, int64_t context, int64_t width)
      : tokens(register_module("tokens", torch::nn::Embedding(vocabulary, width))),
        places(register_module("places", torch::nn::Embedding(context, width))) {
    for (const auto& weight : parameters()) torch::nn::init::normal_(weight, 0, 0.1);
  }
  torch::Tensor forward(const torch::Tensor& tokens_BT) {
    const auto words = tokens(tokens_BT);
    return words + places(torch::arange(tokens_BT.size(1)));
  }
  torch::nn::Embedding tokens, places;
};
TORCH_MODULE(Embeddings);
