// What people do with hooks, devices, dtypes, seeds, members and numbers of the host.
#include "idioms/idiom.h"

namespace shoal::test {
namespace {

using torch::Tensor;

template <class Loss>
auto with_loss(Loss loss) {
  return [loss] { return Idiom<TwoLayers>{[] { return TwoLayers(); }, loss}; };
}

TEST(IdiomsHost, Hooks) {
  try_idiom("a hook on an activation scales its gradient", with_loss([](TwoLayers& net, const Batch& batch) {
              Tensor features = net->features(batch[0]);
              features.register_hook([](Tensor gradient) { return gradient * 0.5; });
              return torch::cross_entropy_loss(net->out(features), batch[1]);
            }));
  try_idiom("a hook on a weight masks its gradient", [] {
    return Idiom<TwoLayers>{[] {
                              TwoLayers net;
                              const Tensor mask = (torch::arange(48).view({8, 6}) % 2).to(torch::kFloat);
                              net->hidden->weight.register_hook([mask](Tensor gradient) { return gradient * mask; });
                              return net;
                            },
                            classify<TwoLayers>};
  });
  try_idiom("a hook that reads a number", [] {
    auto norm = std::make_shared<double>(0);
    return Idiom<TwoLayers>{[norm] {
                              TwoLayers net;
                              net->out->weight.register_hook(
                                  [norm](Tensor gradient) { *norm = gradient.norm().item<double>(); });
                              return net;
                            },
                            classify<TwoLayers>};
  }, Want::kRefused, "");
}

TEST(IdiomsHost, DevicesAndDtypes) {
  try_idiom("tensors made with options of x, and moved to its device", with_loss([](TwoLayers& net, const Batch& batch) {
              const Tensor x = batch[0];
              const Tensor ramp = torch::arange(6, x.options()) / 6, ones = torch::ones_like(x);
              Tensor extra = torch::zeros({x.size(0), 6}, torch::TensorOptions().device(x.device()).dtype(x.dtype()));
              extra = extra.to(x.device()) + ramp;
              return torch::cross_entropy_loss(net(x + extra * ones), batch[1]);
            }));
  try_idiom("x.cpu() and to(kCPU)", with_loss([](TwoLayers& net, const Batch& batch) {
              return torch::cross_entropy_loss(net(batch[0].cpu().to(torch::kCPU)), batch[1].to(torch::kCPU, torch::kLong));
            }));
  try_idiom("a branch on is_cuda()", with_loss([](TwoLayers& net, const Batch& batch) {
              return torch::cross_entropy_loss(batch[0].is_cuda() ? net(batch[0] * 2) : net(batch[0]), batch[1]);
            }));
  try_idiom("a part in double", with_loss([](TwoLayers& net, const Batch& batch) {
              const Tensor logits = net(batch[0]).to(torch::kDouble);
              return torch::nll_loss(torch::log_softmax(logits, 1), batch[1]).to(torch::kFloat);
            }));
  try_idiom("class weights from torch::tensor", with_loss([](TwoLayers& net, const Batch& batch) {
              return torch::nn::functional::cross_entropy(
                  net(batch[0]), batch[1],
                  torch::nn::functional::CrossEntropyFuncOptions().weight(torch::tensor({1.f, 2.f, 0.5f})));
            }));
}

TEST(IdiomsHost, IndexingAndWritesInPlace) {
  using torch::indexing::Slice;
  try_idiom("one_hot, gather, index, masked_fill, einsum", with_loss([](TwoLayers& net, const Batch& batch) {
              const Tensor logits = net(batch[0]);
              const Tensor picked = logits.gather(1, batch[1].unsqueeze(1)).squeeze(1);
              const Tensor rows = logits.index({torch::arange(4), batch[1]});
              const Tensor hot = torch::one_hot(batch[1], 3).to(torch::kFloat);
              const Tensor mask = torch::ones({3, 3}).triu(1).to(torch::kBool);
              const Tensor pairs = torch::einsum("bi,bj->ij", {logits, logits}).masked_fill(mask, 0.0);
              return torch::logsumexp(logits, 1).mean() - 0.5 * (picked + rows).mean() + 1e-3 * pairs.sum() +
                     (logits * hot).pow(2).mean();
            }));
  try_idiom("relu_, +=, writes into slices", with_loss([](TwoLayers& net, const Batch& batch) {
              Tensor x = net->hidden(batch[0]);
              x += 0.1;
              x.relu_();
              Tensor out = torch::zeros({4, 8});
              out.index_put_({Slice(), Slice(0, 4)}, x.index({Slice(), Slice(4, 8)}));
              out.slice(1, 4, 8).copy_(x.slice(1, 0, 4) * 2);
              out.select(1, 0).mul_(3);
              return torch::cross_entropy_loss(net->out(out), batch[1]);
            }));
  try_idiom("a loop over the samples", with_loss([](TwoLayers& net, const Batch& batch) {
              std::vector<Tensor> rows;
              for (int64_t i = 0; i < batch[0].size(0); ++i) rows.push_back(net(batch[0][i]) * (1.0 + 0.1 * static_cast<double>(i)));
              return torch::cross_entropy_loss(torch::stack(rows), batch[1]);
            }));
}

TEST(IdiomsHost, Seeds) {
  try_idiom("manual_seed before each step", [] {
    return Idiom<TwoLayers>{[] { return TwoLayers(); }, classify<TwoLayers>,
                            [](int64_t step, TwoLayers&) { torch::manual_seed(static_cast<uint64_t>(step)); }};
  });
  try_idiom("manual_seed in the loss", with_loss([](TwoLayers& net, const Batch& batch) {
              torch::manual_seed(5);
              return torch::cross_entropy_loss(net(batch[0] + torch::randn({4, 6})), batch[1]);
            }),
            Want::kRefused, "manual_seed");
  try_idiom("a generator of one's own in the loss", [] {
    auto generator = std::make_shared<at::Generator>(at::detail::createCPUGenerator(7));
    return Idiom<TwoLayers>{[] { return TwoLayers(); },
                            [generator](TwoLayers& net, const Batch& batch) {
                              return torch::cross_entropy_loss(net(batch[0] + torch::randn({4, 6}, *generator)), batch[1]);
                            }};
  }, Want::kRefused, "enerator");
}

TEST(IdiomsHost, NumbersOfTheProgram) {
  try_idiom("a factor that the program changes between steps", [] {
    auto factor = std::make_shared<double>(1);
    return Idiom<TwoLayers>{[] { return TwoLayers(); },
                            [factor](TwoLayers& net, const Batch& batch) { return classify(net, batch) * *factor; },
                            [factor](int64_t step, TwoLayers&) { *factor = 1.0 / static_cast<double>(1 + step / 2); }};
  });
  try_idiom("a tensor of the program's, changed between steps", [] {
    auto factor = std::make_shared<Tensor>(torch::ones({}));
    return Idiom<TwoLayers>{[] { return TwoLayers(); },
                            [factor](TwoLayers& net, const Batch& batch) { return classify(net, batch) * *factor; },
                            [factor](int64_t, TwoLayers&) { factor->mul_(0.5); }};
  });
  try_idiom("a tensor of the program's, another one each step", [] {
    auto factor = std::make_shared<Tensor>(torch::ones({}));
    return Idiom<TwoLayers>{[] { return TwoLayers(); },
                            [factor](TwoLayers& net, const Batch& batch) { return classify(net, batch) * *factor; },
                            [factor](int64_t step, TwoLayers&) { *factor = torch::full({}, 1.0 / static_cast<double>(1 + step)); }};
  });
  try_idiom("a counter in the loss", [] {
    auto count = std::make_shared<int>(0);
    return Idiom<TwoLayers>{[] { return TwoLayers(); },
                            [count](TwoLayers& net, const Batch& batch) { return classify(net, batch) / ++*count; }};
  }, Want::kRefused, "");
  try_idiom("rand() decides whether a layer is skipped", [] {
    return Idiom<TwoLayers>{[] { return TwoLayers(); }, [](TwoLayers& net, const Batch& batch) {
                              const double keep = static_cast<double>(std::rand() % 1000) / 1000;
                              return torch::cross_entropy_loss(net->out(net->features(batch[0]) * keep), batch[1]);
                            }};
  }, Want::kRefused, "");
  struct CarryImpl : torch::nn::Module {
    torch::nn::Linear cell{register_module("cell", torch::nn::Linear(12, 6))};
    torch::nn::Linear out{register_module("out", torch::nn::Linear(6, 3))};
    Tensor state = torch::zeros({4, 6});
    Tensor forward(const Tensor& x) {
      state = torch::tanh(cell(torch::cat({x, state.detach()}, 1)));
      return out(state);
    }
  };
  using Carry = torch::nn::ModuleHolder<CarryImpl>;
  try_idiom("a state carried from call to call in a member",
            [] { return Idiom<Carry>{[] { return Carry(std::make_shared<CarryImpl>()); }, classify<Carry>}; },
            Want::kRefused, "");
  struct CachedImpl : torch::nn::Module {
    torch::nn::Linear out{register_module("out", torch::nn::Linear(6, 3))};
    Tensor mask;
    Tensor forward(const Tensor& x) {
      if (!mask.defined()) mask = (torch::arange(6) % 2).to(torch::kFloat);
      return out(x * mask);
    }
  };
  using Cached = torch::nn::ModuleHolder<CachedImpl>;
  try_idiom("a table made at the first call",
            [] { return Idiom<Cached>{[] { return Cached(std::make_shared<CachedImpl>()); }, classify<Cached>}; });
  try_idiom("an if on a number of constants", with_loss([](TwoLayers& net, const Batch& batch) {
              const Tensor weights = torch::arange(6).to(torch::kFloat);
              const bool any = (weights > 4).any().item<bool>();
              const double largest = weights.max().item<double>();
              return classify(net, batch) * (any ? largest : 0.0);
            }));
  try_idiom("an if on a number of the batch", with_loss([](TwoLayers& net, const Batch& batch) {
              return batch[0].mean().item<double>() > 0 ? classify(net, batch) : classify(net, batch) * 2;
            }),
            Want::kRefused, "item()");
  try_idiom("sizes and shapes of the batch", with_loss([](TwoLayers& net, const Batch& batch) {
              const auto rows = static_cast<double>(batch[0].size(0));
              const int64_t columns = batch[0].numel() / batch[0].sizes()[0];
              return torch::cross_entropy_loss(net(batch[0].reshape({-1, columns})), batch[1]) / std::sqrt(rows);
            }));
}

}  // namespace
}  // namespace shoal::test
