// What people do with modules: put them together, share them, swap them, reach into them.
#include "idioms/idiom.h"

namespace shoal::test {
namespace {

using torch::Tensor;

TEST(IdiomsModules, SequentialsListsAndDicts) {
  try_idiom("a Sequential of layers and a Functional", [] {
    return Idiom<torch::nn::Sequential>{
        [] {
          return torch::nn::Sequential(torch::nn::Linear(6, 8), torch::nn::Functional(torch::relu),
                                       torch::nn::Linear(8, 3));
        },
        [](torch::nn::Sequential& net, const Batch& batch) {
          return torch::nll_loss(torch::log_softmax(net->forward(batch[0]), 1), batch[1]);
        }};
  });
  struct ListImpl : torch::nn::Module {
    torch::nn::ModuleList layers{register_module("layers", torch::nn::ModuleList())};
    torch::nn::ModuleDict heads{register_module("heads", torch::nn::ModuleDict())};
    ListImpl() {
      for (int i = 0; i < 3; ++i) layers->push_back(torch::nn::Linear(6, 6));
      heads->update(std::vector<std::pair<std::string, std::shared_ptr<torch::nn::Module>>>{
          {"class", torch::nn::Linear(6, 3).ptr()}, {"unused", torch::nn::Linear(6, 2).ptr()}});
    }
    Tensor forward(Tensor x) {
      for (const auto& layer : *layers) x = torch::gelu(layer->as<torch::nn::Linear>()->forward(x)) + x;
      return heads["class"]->as<torch::nn::Linear>()->forward(x);
    }
  };
  using List = torch::nn::ModuleHolder<ListImpl>;
  try_idiom("a ModuleList in a loop, a ModuleDict with a head nobody uses",
            [] { return Idiom<List>{[] { return List(std::make_shared<ListImpl>()); }, classify<List>}; });
}

TEST(IdiomsModules, SharedAndTied) {
  struct TiedImpl : torch::nn::Module {
    torch::nn::Linear shared{register_module("shared", torch::nn::Linear(6, 6))};
    torch::nn::Linear again{register_module("again", shared)};
    torch::nn::Linear tied{register_module("tied", torch::nn::Linear(6, 6))};
    torch::nn::Linear out{register_module("out", torch::nn::Linear(6, 3))};
    TiedImpl() { tied->weight = shared->weight; }
    Tensor forward(const Tensor& x) { return out(torch::tanh(tied(torch::tanh(again(torch::tanh(shared(x))))))); }
  };
  using Tied = torch::nn::ModuleHolder<TiedImpl>;
  // A tied weight by assignment of the member alone leaves its registered twin unused, in eager too.
  try_idiom("one layer registered twice, and a weight assigned to another layer", one_microbatch([] {
    return Idiom<Tied>{[] { return Tied(std::make_shared<TiedImpl>()); },
                       [](Tied& net, const Batch& batch) { return classify(net, batch); }};
  }));
}

TEST(IdiomsModules, ClonedAppliedConverted) {
  try_idiom("a clone is trained", [] {
    return Idiom<TwoLayers>{[] {
                              TwoLayers first;
                              auto sequential = torch::nn::Linear(2, 2);  // draws in between
                              return TwoLayers(first);
                            },
                            classify<TwoLayers>};
  });
  try_idiom("apply() initialises by kind of layer", [] {
    return Idiom<TwoLayers>{[] {
                              TwoLayers net;
                              net->apply([](torch::nn::Module& module) {
                                if (auto* linear = module.as<torch::nn::Linear>()) {
                                  torch::nn::init::xavier_uniform_(linear->weight);
                                  torch::nn::init::zeros_(linear->bias);
                                }
                              });
                              return net;
                            },
                            classify<TwoLayers>};
  });
  try_idiom("to(kCPU), to(kFloat), zero_grad() as a program written for a GPU does", [] {
    return Idiom<TwoLayers>{[] {
                              TwoLayers net;
                              const torch::Device device(torch::cuda::is_available() ? torch::kCUDA : torch::kCPU);
                              net->to(device);
                              net->to(torch::kFloat);
                              return net;
                            },
                            classify<TwoLayers>, [](int64_t, TwoLayers& net) { net->zero_grad(); }};
  });
}

TEST(IdiomsModules, LayersReplaced) {
  try_idiom("replace_module before training", [] {
    return Idiom<TwoLayers>{[] {
                              TwoLayers net;
                              net->out = net->replace_module("out", torch::nn::Linear(8, 3));
                              return net;
                            },
                            classify<TwoLayers>};
  });
  try_idiom("replace_module between steps", [] {
    return Idiom<TwoLayers>{[] { return TwoLayers(); }, classify<TwoLayers>, [](int64_t step, TwoLayers& net) {
                              if (step == 2) net->out = net->replace_module("out", torch::nn::Linear(8, 3));
                            }};
  }, Want::kRefused, "out");
  try_idiom("a layer made on the fly, never registered", [] {
    torch::manual_seed(5);
    auto extra = std::make_shared<torch::nn::Linear>(3, 3);
    return Idiom<TwoLayers>{[] { return TwoLayers(); },
                            [extra](TwoLayers& net, const Batch& batch) {
                              return torch::cross_entropy_loss((*extra)(net(batch[0])), batch[1]);
                            }};
  });
  try_idiom("another layer from a certain step on", [] {
    auto step = std::make_shared<int64_t>(0);
    return Idiom<TwoLayers>{[] { return TwoLayers(); },
                            [step](TwoLayers& net, const Batch& batch) {
                              const Tensor x = *step >= 2 ? torch::tanh(batch[0]) : batch[0];
                              return torch::cross_entropy_loss(net(x), batch[1]);
                            },
                            [step](int64_t now, TwoLayers&) { *step = now; }};
  });
}

TEST(IdiomsModules, FilesOfWeights) {
  try_idiom("torch::save and torch::load of the module between steps", [] {
    auto file = std::make_shared<std::string>();
    return Idiom<TwoLayers>{[] { return TwoLayers(); }, classify<TwoLayers>, [file](int64_t step, TwoLayers& net) {
                              if (step == 1) {
                                std::ostringstream stream;
                                torch::save(net, stream);
                                *file = stream.str();
                              }
                              if (step == 3) {
                                std::istringstream stream(*file);
                                torch::load(net, stream);
                              }
                            }};
  });
  try_idiom("weights of another module copied in", [] {
    return Idiom<TwoLayers>{[] { return TwoLayers(); }, classify<TwoLayers>, [](int64_t step, TwoLayers& net) {
                              if (step != 2) return;
                              torch::manual_seed(17);
                              TwoLayers other;
                              const torch::NoGradGuard no_grad;
                              auto to = net->named_parameters();
                              for (const auto& from : other->named_parameters()) to[from.key()].copy_(from.value());
                            }};
  });
}

}  // namespace
}  // namespace shoal::test
