// What a program changes between steps that forward or the loss reads on the host.
#include "idioms/idiom.h"

namespace shoal {
namespace {

namespace nn = torch::nn;
using test::classify;
using test::Idiom;
using test::one_microbatch;
using test::try_idiom;
using test::TwoLayers;
using test::TwoLayersImpl;
using test::Want;

struct ScheduledImpl : TwoLayersImpl {
  double temperature = 1, blend = 0;
  bool detours = false;
  int64_t depth = 1;
  torch::Tensor forward(const torch::Tensor& x) {
    torch::Tensor h = features(x);
    for (int64_t i = 1; i < depth; ++i) h = torch::tanh(h + torch::tanh(hidden(x)));
    if (detours) h = h * torch::sigmoid(h);
    return out(h) / temperature;
  }
};
TORCH_MODULE(Scheduled);

Idiom<Scheduled> scheduled(std::function<void(int64_t, Scheduled&)> before) {
  return {[] { return Scheduled(); },
          [](Scheduled& net, const Batch& batch) {
            const torch::Tensor ce = classify(net, batch);
            return net->blend == 0 ? ce : ce * (1 - net->blend) + net->hidden->weight.pow(2).sum() * net->blend;
          },
          std::move(before)};
}

TEST(Idioms, OfWhatChangesBetweenSteps) {
  try_idiom("a temperature that is annealed", [] {
    return scheduled([](int64_t step, Scheduled& net) { net->temperature = 1.0 / static_cast<double>(step + 1); });
  });
  try_idiom("a loss factor that warms up", [] {
    return scheduled([](int64_t step, Scheduled& net) { net->blend = 0.1 * static_cast<double>(step); });
  }, Want::kRefused, "hidden.weight: it is used in 2 places now");
  try_idiom("a loss factor that starts small", one_microbatch([] {
    return scheduled([](int64_t step, Scheduled& net) { net->blend = 0.1 * static_cast<double>(step + 1); });
  }));
  try_idiom("a path that is switched on later", [] {
    return scheduled([](int64_t step, Scheduled& net) { net->detours = step >= 2; });
  });
  try_idiom("a path that is taken every other step", [] {
    return scheduled([](int64_t step, Scheduled& net) { net->detours = step % 2 == 1; });
  });
  try_idiom("a depth that grows", [] {
    return scheduled([](int64_t step, Scheduled& net) { net->depth = 1 + step / 2; });
  }, Want::kRefused, "places now, and was used in 1 when training began");
  try_idiom("a factor that a lambda captures", [] {
    auto factor = std::make_shared<double>(1);
    return Idiom<TwoLayers>{[] { return TwoLayers(); },
                            [factor](TwoLayers& net, const Batch& batch) { return classify(net, batch) * *factor; },
                            [factor](int64_t step, TwoLayers&) { *factor = 1 + 0.5 * static_cast<double>(step); }};
  });
  try_idiom("gradients that are cut off by a guard, later", [] {
    auto freezes = std::make_shared<bool>(false);
    return Idiom<TwoLayers>{[] { return TwoLayers(); },
                            [freezes](TwoLayers& net, const Batch& batch) {
                              torch::Tensor h;
                              if (*freezes) {
                                const torch::NoGradGuard no_grad;
                                h = net->features(batch[0]);
                              } else {
                                h = net->features(batch[0]);
                              }
                              return torch::cross_entropy_loss(net->out(h) + 0 * net->hidden->weight.sum(), batch[1]);
                            },
                            [freezes](int64_t step, TwoLayers&) { *freezes = step >= 2; }};
  }, Want::kRefused, "places now, and was used in");
  try_idiom("weights of classes that are made anew", [] {
    auto weight = std::make_shared<torch::Tensor>(torch::ones({3}));
    return Idiom<TwoLayers>{[] { return TwoLayers(); },
                            [weight](TwoLayers& net, const Batch& batch) {
                              return torch::nn::functional::cross_entropy(
                                  net(batch[0]), batch[1],
                                  torch::nn::functional::CrossEntropyFuncOptions().weight(*weight));
                            },
                            [weight](int64_t step, TwoLayers&) {
                              *weight = torch::tensor({1.0f, 2.0f, 1.0f + static_cast<float>(step)});
                            }};
  });
  try_idiom("numbers of a vector that changes", [] {
    auto numbers = std::make_shared<std::vector<float>>(3, 1.0f);
    return Idiom<TwoLayers>{[] { return TwoLayers(); },
                            [numbers](TwoLayers& net, const Batch& batch) {
                              return torch::cross_entropy_loss(net(batch[0]) * torch::tensor(*numbers), batch[1]);
                            },
                            [numbers](int64_t step, TwoLayers&) { (*numbers)[1] = static_cast<float>(step); }};
  });
  try_idiom("a counter in a tensor, read on the host", [] {
    auto count = std::make_shared<torch::Tensor>(torch::zeros({}, torch::kLong));
    return Idiom<TwoLayers>{[] { return TwoLayers(); },
                            [count](TwoLayers& net, const Batch& batch) {
                              return classify(net, batch) * (count->item<int64_t>() > 2 ? 0.5 : 1.0);
                            },
                            [count](int64_t, TwoLayers&) { count->add_(1); }};
  });
  try_idiom("numbers of a vector that is lent (from_blob)", [] {
    auto numbers = std::make_shared<std::vector<float>>(3, 1.0f);
    return Idiom<TwoLayers>{[] { return TwoLayers(); },
                            [numbers](TwoLayers& net, const Batch& batch) {
                              return torch::cross_entropy_loss(net(batch[0]) * torch::from_blob(numbers->data(), {3}),
                                                               batch[1]);
                            },
                            [numbers](int64_t step, TwoLayers&) { (*numbers)[1] = static_cast<float>(step); }};
  });
}

TEST(Idioms, OfWhatDiffersByMicrobatch) {
  try_idiom(
      "a factor that the microbatch's number decides",
      [] {
        auto calls = std::make_shared<int64_t>(-1);
        Idiom<TwoLayers> idiom{[] { return TwoLayers(); }, [calls](TwoLayers& net, const Batch& batch) {
                                 return classify(net, batch) * (*calls == 1 ? 2.0 : 1.0);
                               }};
        idiom.data = [calls](int64_t, int64_t m) { *calls = m; };
        return idiom;
      },
      Want::kRefused, "microbatch 1: the model's code does something else with it than with microbatch 0");
}

// What is filled holds, before, what memory held before: nobody's number.
TEST(Idioms, OfMemoryThatIsFilled) {
  const auto with_dirty_memory = [](const std::function<torch::Tensor()>& order) {
    return [order] {
      Idiom<TwoLayers> idiom{[] { return TwoLayers(); }, [order](TwoLayers& net, const Batch& batch) {
                               return torch::cross_entropy_loss(net(batch[0]).index_select(1, order()), batch[1]);
                             }};
      idiom.data = [](int64_t step, int64_t m) {
        std::vector<torch::Tensor> left;
        for (int i = 0; i < 64; ++i) left.push_back(torch::full({3}, 100 * step + m + 1, torch::kLong));
      };
      return idiom;
    };
  };
  try_idiom("numbers of a list", with_dirty_memory([] { return torch::tensor({2, 0, 1}); }));
  try_idiom("the inverse of an order", with_dirty_memory([] {
              const torch::Tensor order = torch::tensor({2, 0, 1});
              return torch::empty_like(order).scatter_(0, order, torch::arange(3));
            }));
}

TEST(Idioms, OfHooksWithTheStateOfNow) {
  try_idiom("a hook on a value, registered after its last use", [] {
    auto factor = std::make_shared<double>(1);
    return Idiom<TwoLayers>{[] { return TwoLayers(); },
                            [factor](TwoLayers& net, const Batch& batch) {
                              const torch::Tensor h = net->features(batch[0]);
                              const torch::Tensor y = net->out(h);
                              h.register_hook([factor](torch::Tensor g) { return g * *factor; });
                              return torch::cross_entropy_loss(y, batch[1]);
                            },
                            [factor](int64_t step, TwoLayers&) { *factor = 1 + static_cast<double>(step); }};
  });
}

TEST(Idioms, OfWhatForwardChangesByItself) {
  try_idiom(
      "a counter in forward",
      [] {
        auto calls = std::make_shared<int>(0);
        return Idiom<TwoLayers>{[] { return TwoLayers(); }, [calls](TwoLayers& net, const Batch& batch) {
                                  return classify(net, batch) * ++*calls;
                                }};
      },
      Want::kRefused, "each call of it computes something else");
  try_idiom(
      "a coin of the C library",
      [] {
        return Idiom<TwoLayers>{[] { return TwoLayers(); }, [](TwoLayers& net, const Batch& batch) {
                                  return classify(net, batch) * (1.0 + std::rand());
                                }};
      },
      Want::kRefused, "each call of it computes something else");
  try_idiom("a mask that the first call keeps", [] {
    auto mask = std::make_shared<torch::Tensor>();
    return Idiom<TwoLayers>{[] { return TwoLayers(); }, [mask](TwoLayers& net, const Batch& batch) {
                              if (!mask->defined()) *mask = torch::arange(3) < 2;
                              return torch::cross_entropy_loss(net(batch[0]).masked_fill(*mask, 0.5), batch[1]);
                            }};
  });
}

}  // namespace
}  // namespace shoal
