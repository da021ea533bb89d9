// What people do with parameters: freeze, clamp, decay, penalise, view, reparametrise.
#include "idioms/idiom.h"

namespace shoal::test {
namespace {

using torch::Tensor;

template <class Before>
auto between(Before before) {
  return [before] { return Idiom<TwoLayers>{[] { return TwoLayers(); }, classify<TwoLayers>, before}; };
}

TEST(IdiomsParameters, Frozen) {
  try_idiom("a layer frozen by name before training", [] {
    return Idiom<TwoLayers>{[] {
                              TwoLayers net;
                              for (auto& named : net->named_parameters())
                                if (named.key().rfind("hidden", 0) == 0) named.value().requires_grad_(false);
                              return net;
                            },
                            classify<TwoLayers>};
  });
  try_idiom("a layer frozen between steps", between([](int64_t step, TwoLayers& net) {
              if (step == 2)
                for (auto& p : net->hidden->parameters()) p.requires_grad_(false);
            }),
            Want::kRefused, "hidden.weight");
  try_idiom("frozen and thawed again between steps", between([](int64_t, TwoLayers& net) {
              for (auto& p : net->parameters()) p.requires_grad_(false);
              for (auto& p : net->parameters()) p.requires_grad_(true);
            }));
}

TEST(IdiomsParameters, WrittenBetweenSteps) {
  try_idiom("clamp_ under no_grad, as weight clipping does", between([](int64_t, TwoLayers& net) {
              const torch::NoGradGuard no_grad;
              for (auto& p : net->parameters()) p.clamp_(-0.2, 0.2);
            }));
  try_idiom("data().mul_, decay by hand", between([](int64_t, TwoLayers& net) {
              for (auto& p : net->parameters()) p.data().mul_(0.9);
            }));
  try_idiom("nn::init of a layer again", between([](int64_t step, TwoLayers& net) {
              torch::manual_seed(static_cast<uint64_t>(step));
              if (step == 2) torch::nn::init::kaiming_normal_(net->out->weight);
            }));
  try_idiom("reset_parameters() of a layer", between([](int64_t step, TwoLayers& net) {
              torch::manual_seed(static_cast<uint64_t>(step));
              if (step == 1) net->hidden->reset_parameters();
            }));
  try_idiom("set_data with fresh numbers", between([](int64_t step, TwoLayers& net) {
              if (step == 2) net->out->bias.set_data(torch::full({3}, 0.25));
            }));
  try_idiom("one element written through an accessor", between([](int64_t step, TwoLayers& net) {
              if (step != 0) net->out->bias.data_ptr<float>()[1] = 0.5f;
            }));
  try_idiom("rows of a weight zeroed through a slice (pruning)", between([](int64_t, TwoLayers& net) {
              const torch::NoGradGuard no_grad;
              net->hidden->weight.slice(0, 0, 2).zero_();
            }));
  try_idiom("noise added to the weights", between([](int64_t step, TwoLayers& net) {
              const auto generator = at::detail::createCPUGenerator(static_cast<uint64_t>(step));
              const torch::NoGradGuard no_grad;
              for (auto& p : net->parameters()) p.add_(torch::randn(p.sizes(), generator), 0.01);
            }));
  try_idiom("an optimizer of LibTorch's with no gradients steps and clips in between", [] {
    auto optimizer = std::make_shared<std::unique_ptr<torch::optim::SGD>>();
    return Idiom<TwoLayers>{[] { return TwoLayers(); }, classify<TwoLayers>,
                            [optimizer](int64_t, TwoLayers& net) {
                              if (!*optimizer)
                                *optimizer = std::make_unique<torch::optim::SGD>(net->parameters(), 0.1);
                              (*optimizer)->zero_grad();
                              torch::nn::utils::clip_grad_norm_(net->parameters(), 1.0);
                              (*optimizer)->step();
                            }};
  });
}

TEST(IdiomsParameters, InTheLoss) {
  const auto with_loss = [](auto loss) {
    return [loss] { return Idiom<TwoLayers>{[] { return TwoLayers(); }, loss}; };
  };
  try_idiom("an L2 penalty over parameters()", one_microbatch(with_loss([](TwoLayers& net, const Batch& batch) {
              Tensor penalty = torch::zeros({});
              for (const auto& p : net->parameters()) penalty = penalty + p.pow(2).sum();
              return classify(net, batch) + 0.01 * penalty;
            })));
  try_idiom("an L1 penalty over weights by name", one_microbatch(with_loss([](TwoLayers& net, const Batch& batch) {
              Tensor loss = classify(net, batch);
              for (const auto& p : net->named_parameters())
                if (p.key().find("weight") != std::string::npos) loss = loss + 1e-2 * p.value().abs().sum();
              return loss;
            })));
  try_idiom("weight.detach() in the loss", one_microbatch(with_loss([](TwoLayers& net, const Batch& batch) {
              return classify(net, batch) + (net->out->weight - net->hidden->weight.detach().slice(0, 0, 3).mean()).norm();
            })));
  try_idiom("weight.data() in the loss", one_microbatch(with_loss([](TwoLayers& net, const Batch& batch) {
              return classify(net, batch) * (1 + net->out->weight.data().norm());
            })));
  try_idiom("the first weights kept as an anchor", one_microbatch([] {
    auto anchor = std::make_shared<std::vector<Tensor>>();
    return Idiom<TwoLayers>{[anchor] {
                              TwoLayers net;
                              for (const auto& p : net->parameters()) anchor->push_back(p.detach().clone());
                              return net;
                            },
                            [anchor](TwoLayers& net, const Batch& batch) {
                              Tensor loss = classify(net, batch);
                              const auto parameters = net->parameters();
                              for (size_t i = 0; i < parameters.size(); ++i)
                                loss = loss + (parameters[i] - (*anchor)[i]).pow(2).sum();
                              return loss;
                            }};
  }));
  try_idiom("a view of a weight kept since construction", [] {
    auto row = std::make_shared<Tensor>();
    return Idiom<TwoLayers>{[row] {
                              TwoLayers net;
                              *row = net->hidden->weight.detach().narrow(0, 0, 1);
                              return net;
                            },
                            [row](TwoLayers& net, const Batch& batch) {
                              return classify(net, batch) + (batch[0] * *row).mean();
                            }};
  });
}

TEST(IdiomsParameters, Reparametrised) {
  struct WeightNormImpl : torch::nn::Module {
    Tensor v{register_parameter("v", torch::randn({3, 6}))};
    Tensor g{register_parameter("g", torch::ones({3, 1}))};
    Tensor scale{register_parameter("scale", torch::tensor(1.5f))};
    Tensor fixed{register_parameter("fixed", torch::randn({3}), /*requires_grad=*/false)};
    Tensor forward(const Tensor& x) {
      const Tensor weight = g * v / v.norm(2, {1}, /*keepdim=*/true);
      return torch::nn::functional::linear(x, weight, fixed) * scale;
    }
  };
  using WeightNorm = torch::nn::ModuleHolder<WeightNormImpl>;
  try_idiom("weight norm by hand, a scalar parameter, a parameter without gradient", one_microbatch([] {
    return Idiom<WeightNorm>{[] { return WeightNorm(std::make_shared<WeightNormImpl>()); }, classify<WeightNorm>};
  }));
  struct ListsImpl : torch::nn::Module {
    torch::nn::ParameterList list{register_module("list", torch::nn::ParameterList())};
    torch::nn::ParameterDict dict{register_module("dict", torch::nn::ParameterDict())};
    ListsImpl() {
      for (int i = 0; i < 2; ++i) list->append((torch::randn({6, 6}) * 0.3).requires_grad_());
      dict->insert("head", torch::randn({6, 3}).requires_grad_());
    }
    Tensor forward(Tensor x) {
      for (const auto& weight : *list) x = torch::tanh(x.matmul(weight.value()));
      return x.mm(dict["head"]);
    }
  };
  using Lists = torch::nn::ModuleHolder<ListsImpl>;
  try_idiom("ParameterList and ParameterDict", [] {
    return Idiom<Lists>{[] { return Lists(std::make_shared<ListsImpl>()); }, classify<Lists>};
  });
  struct FusedImpl : torch::nn::Module {
    Tensor all{register_parameter("all", torch::randn({14, 6}) * 0.2)};
    Tensor forward(const Tensor& x) {
      const auto parts = all.split_with_sizes({6, 8}, 0);
      return torch::cat({x.mm(parts[0].t()), x.mm(parts[1].t()).narrow(1, 0, 2)}, 1).slice(1, 0, 3);
    }
  };
  using Fused = torch::nn::ModuleHolder<FusedImpl>;
  try_idiom("one parameter split in forward", [] {
    return Idiom<Fused>{[] { return Fused(std::make_shared<FusedImpl>()); }, classify<Fused>};
  });
}

}  // namespace
}  // namespace shoal::test
