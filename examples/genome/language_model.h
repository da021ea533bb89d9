// A language model of bases: plain LibTorch, knows nothing of Shoal. Shapes: B windows, T bases, D width.
#pragma once

#include <torch/torch.h>

constexpr int64_t kContext = 128;  // bases of a window

struct GenomeBlockImpl : torch::nn::Module {
  GenomeBlockImpl(int64_t width, int64_t heads, double dropout)
      : heads(heads),
        dropout(dropout),
        norm1(register_module("norm1", torch::nn::LayerNorm(torch::nn::LayerNormOptions({width})))),
        norm2(register_module("norm2", torch::nn::LayerNorm(torch::nn::LayerNormOptions({width})))),
        query(register_module("query", torch::nn::Linear(width, width))),
        key(register_module("key", torch::nn::Linear(width, width))),
        value(register_module("value", torch::nn::Linear(width, width))),
        out(register_module("out", torch::nn::Linear(width, width))),
        up(register_module("up", torch::nn::Linear(width, 2 * width))),
        down(register_module("down", torch::nn::Linear(2 * width, width))) {}

  torch::Tensor forward(torch::Tensor x_BTD) {
    const auto split = [&](const torch::Tensor& t) {
      return t.view({t.size(0), t.size(1), heads, -1}).transpose(1, 2);
    };
    const auto normed = norm1(x_BTD);
    const auto attended =
        torch::scaled_dot_product_attention(split(query(normed)), split(key(normed)), split(value(normed)),
                                            /*attn_mask=*/{}, /*dropout_p=*/0.0, /*is_causal=*/true);
    x_BTD = x_BTD + torch::dropout(out(attended.transpose(1, 2).flatten(2)), dropout, is_training());
    return x_BTD + torch::dropout(down(torch::gelu(up(norm2(x_BTD)))), dropout, is_training());
  }
  int64_t heads;
  double dropout;
  torch::nn::LayerNorm norm1, norm2;
  torch::nn::Linear query, key, value, out, up, down;
};
TORCH_MODULE(GenomeBlock);

/// A GPT that first reads k-mers: a convolution over the last kKmer bases, which 40 thousand bases are enough
/// to learn, while attention alone would have to find out first that neighbours matter.
struct GenomeModelImpl : torch::nn::Module {
  static constexpr int64_t kWidth = 64, kHeads = 4, kBlocks = 2, kKmer = 12;
  static constexpr double kDropout = 0.2;

  GenomeModelImpl()
      : bases(register_module("bases", torch::nn::Embedding(5, kWidth))),
        kmers(register_module("kmers", torch::nn::Conv1d(torch::nn::Conv1dOptions(kWidth, kWidth, kKmer)))),
        places(register_module("places", torch::nn::Embedding(kContext, kWidth))),
        blocks(register_module("blocks", torch::nn::ModuleList())),
        norm(register_module("norm", torch::nn::LayerNorm(torch::nn::LayerNormOptions({kWidth})))),
        head(register_module("head", torch::nn::Linear(kWidth, 4))) {
    for (int64_t i = 0; i < kBlocks; ++i) blocks->push_back(GenomeBlock(kWidth, kHeads, kDropout));
    for (const auto& weight : parameters())
      if (weight.dim() > 1) torch::nn::init::normal_(weight, 0, 0.05);
  }
  /// Bases before each place [B, T] -> scores of the four bases there [B, T, 4].
  torch::Tensor forward(const torch::Tensor& before_BT) {
    const auto single_BTD = bases(before_BT);
    const auto kmers_BDT = kmers(torch::constant_pad_nd(single_BTD.transpose(1, 2), {kKmer - 1, 0}));
    auto x = single_BTD + torch::gelu(kmers_BDT).transpose(1, 2) + places(torch::arange(before_BT.size(1)));
    x = torch::dropout(x, kDropout, is_training());
    for (const auto& block : *blocks) x = block->as<GenomeBlock>()->forward(x);
    return head(norm(x));
  }
  torch::nn::Embedding bases;
  torch::nn::Conv1d kmers;
  torch::nn::Embedding places;
  torch::nn::ModuleList blocks;
  torch::nn::LayerNorm norm;
  torch::nn::Linear head;
};
TORCH_MODULE(GenomeModel);

/// Mean over all bases, in nats.
inline torch::Tensor loss_of(GenomeModel& model, const std::vector<torch::Tensor>& batch) {
  return torch::cross_entropy_loss(model(batch[0]).flatten(0, 1), batch[1].flatten());
}
