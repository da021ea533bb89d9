// Models that draw random numbers in forward, as their users write them: each trains, evaluates, and gives
// the same bits on every layout, in fp32 and bf16.
#include <gtest/gtest.h>
#include <torch/torch.h>

#include <mutex>

#include "shoal/shoal.h"

namespace shoal {
namespace {

namespace nn = torch::nn;
namespace F = torch::nn::functional;
using torch::Tensor;

// LibTorch's own example.
struct MnistImpl : nn::Module {
  Tensor forward(Tensor x) {
    x = torch::relu(torch::max_pool2d(conv1->forward(x), 2));
    x = torch::relu(torch::max_pool2d(conv2_drop->forward(conv2->forward(x)), 2));
    x = x.view({-1, 320});
    x = torch::relu(fc1->forward(x));
    x = torch::dropout(x, 0.5, is_training());
    return torch::log_softmax(fc2->forward(x), 1);
  }
  nn::Conv2d conv1 = register_module("conv1", nn::Conv2d(nn::Conv2dOptions(1, 10, 5)));
  nn::Conv2d conv2 = register_module("conv2", nn::Conv2d(nn::Conv2dOptions(10, 20, 5)));
  nn::Dropout2d conv2_drop = register_module("conv2_drop", nn::Dropout2d());
  nn::Linear fc1 = register_module("fc1", nn::Linear(320, 50));
  nn::Linear fc2 = register_module("fc2", nn::Linear(50, 10));
};
TORCH_MODULE(Mnist);

struct VaeImpl : nn::Module {
  std::tuple<Tensor, Tensor, Tensor> forward(const Tensor& x) {
    const Tensor hidden = torch::relu(in->forward(x)), mean = to_mean->forward(hidden),
                 log_variance = to_variance->forward(hidden), deviation = torch::exp(0.5 * log_variance);
    return {out->forward(torch::relu(back->forward(mean + torch::randn_like(deviation) * deviation))), mean,
            log_variance};
  }
  nn::Linear in = register_module("in", nn::Linear(24, 32)),
             to_mean = register_module("to_mean", nn::Linear(32, 8)),
             to_variance = register_module("to_variance", nn::Linear(32, 8)),
             back = register_module("back", nn::Linear(8, 32)),
             out = register_module("out", nn::Linear(32, 24));
};
TORCH_MODULE(Vae);

// Blocks that are left out for some of the samples.
struct StochasticDepthImpl : nn::Module {
  StochasticDepthImpl() {
    for (int i = 0; i < 3; ++i) blocks->push_back(nn::Linear(24, 24));
  }
  Tensor forward(Tensor x) {
    for (const auto& block : *blocks) {
      const Tensor branch = torch::relu(block->as<nn::Linear>()->forward(x));
      if (is_training())
        x = x + branch * (torch::rand({x.size(0), 1}, x.options()) < 0.75).to(x.dtype()) / 0.75;
      else
        x = x + branch;
    }
    return head->forward(x);
  }
  nn::ModuleList blocks = register_module("blocks", nn::ModuleList());
  nn::Linear head = register_module("head", nn::Linear(24, 10));
};
TORCH_MODULE(StochasticDepth);

struct MaskedAutoencoderImpl : nn::Module {
  Tensor forward(const Tensor& patches) {  // -> loss
    const int64_t b = patches.size(0), t = patches.size(1), d = patches.size(2), kept = t / 4;
    const Tensor order = torch::argsort(torch::rand({b, t}), int64_t{1}),
                 back = torch::argsort(order, int64_t{1});
    const auto rows = [](const Tensor& x, const Tensor& places) {
      return x.gather(1, places.unsqueeze(-1).expand({-1, -1, x.size(2)}));
    };
    const Tensor seen = encoder->forward(rows(patches, order.slice(1, 0, kept)));
    const Tensor all = torch::cat({seen, mask_token.expand({b, t - kept, d})}, 1);
    const Tensor guess = decoder->forward(rows(all, back));
    const Tensor hidden = (back >= kept).to(guess.dtype());
    return ((guess - patches).square().mean(-1) * hidden).sum() / hidden.sum();
  }
  nn::Linear encoder = register_module("encoder", nn::Linear(16, 16)),
             decoder = register_module("decoder", nn::Linear(16, 16));
  Tensor mask_token = register_parameter("mask_token", torch::randn({1, 1, 16}) * 0.02);
};
TORCH_MODULE(MaskedAutoencoder);

struct DiffusionImpl : nn::Module {
  Tensor forward(const Tensor& x) {  // -> loss
    const Tensor t = torch::randint(0, 50, {x.size(0)}, torch::kLong), noise = torch::randn_like(x);
    const Tensor kept = signal.index_select(0, t).unsqueeze(1).to(x.dtype());
    const Tensor noisy = kept.sqrt() * x + (1 - kept).sqrt() * noise;
    return torch::mse_loss(out->forward(torch::silu(in->forward(noisy) + time->forward(t))), noise);
  }
  Tensor signal = register_buffer("signal", torch::cumprod(1 - torch::linspace(1e-3, 0.2, 50), 0));
  nn::Embedding time = register_module("time", nn::Embedding(50, 32));
  nn::Linear in = register_module("in", nn::Linear(24, 32)), out = register_module("out", nn::Linear(32, 24));
};
TORCH_MODULE(Diffusion);

// A discrete code between two layers.
struct GumbelImpl : nn::Module {
  Tensor forward(const Tensor& x) {
    const Tensor code = F::gumbel_softmax(in->forward(x).view({x.size(0), 4, 8}),
                                          F::GumbelSoftmaxFuncOptions().tau(0.7).hard(true).dim(-1));
    return out->forward(code.flatten(1));
  }
  nn::Linear in = register_module("in", nn::Linear(24, 32)), out = register_module("out", nn::Linear(32, 10));
};
TORCH_MODULE(Gumbel);

nn::Sequential inplace_convnet() {
  return nn::Sequential(nn::Conv2d(nn::Conv2dOptions(3, 8, 3).padding(1)),
                        nn::Dropout2d(nn::Dropout2dOptions(0.3).inplace(true)),
                        nn::ReLU(nn::ReLUOptions(true)), nn::AvgPool2d(nn::AvgPool2dOptions(2)),
                        nn::Flatten(), nn::Linear(128, 32),
                        nn::Dropout(nn::DropoutOptions(0.4).inplace(true)), nn::Linear(32, 10));
}
nn::Sequential rrelu_net() {
  return nn::Sequential(nn::Linear(24, 32), nn::RReLU(nn::RReLUOptions().lower(0.1).upper(0.4)),
                        nn::Linear(32, 32), nn::RReLU(nn::RReLUOptions().inplace(true)), nn::Linear(32, 10));
}
nn::Sequential selu_net() {
  return nn::Sequential(nn::Linear(24, 32), nn::SELU(), nn::AlphaDropout(0.1), nn::Linear(32, 32), nn::SELU(),
                        nn::AlphaDropout(nn::AlphaDropoutOptions(0.2).inplace(true)), nn::Linear(32, 10));
}

struct AttentionImpl : nn::Module {
  Tensor forward(const Tensor& x) {
    const Tensor tokens = x.view({x.size(0), 6, 16}).transpose(0, 1);
    return head->forward(std::get<0>(attention->forward(tokens, tokens, tokens)).mean(0));
  }
  nn::MultiheadAttention attention =
      register_module("attention", nn::MultiheadAttention(nn::MultiheadAttentionOptions(16, 4).dropout(0.2)));
  nn::Linear head = register_module("head", nn::Linear(16, 10));
};
TORCH_MODULE(Attention);

// Skip-gram with negative samples that are drawn by their frequencies.
struct SkipGramImpl : nn::Module {
  Tensor forward(const Tensor& words, const Tensor& context) {  // -> loss
    const Tensor center = in->forward(words);
    const Tensor negative = torch::multinomial(frequencies, words.size(0) * 6, true).view({-1, 6});
    const Tensor good = (center * out->forward(context)).sum(-1);
    const Tensor bad = (center.unsqueeze(1) * out->forward(negative)).sum(-1);
    return -(torch::log_sigmoid(good).mean() + torch::log_sigmoid(-bad).mean());
  }
  Tensor frequencies = register_buffer("frequencies", torch::arange(1, 41, torch::kFloat).pow(-0.75));
  nn::Embedding in = register_module("in", nn::Embedding(40, 16)),
                out = register_module("out", nn::Embedding(40, 16));
};
TORCH_MODULE(SkipGram);

// Noise of every kind that users add, on inputs and on weights; a shuffle of the samples.
struct NoisyImpl : nn::Module {
  Tensor forward(Tensor x) {
    x = x + torch::empty_like(x).normal_(0, 0.1) + 0.1 * torch::bernoulli(torch::full_like(x, 0.2));
    x = x * torch::empty_like(x).uniform_(0.9, 1.1) + 0.01 * torch::poisson(x.abs() * 3);
    const Tensor other = x.index_select(0, torch::randperm(x.size(0), torch::kLong));
    const Tensor share = torch::rand({x.size(0), 1}, x.options());
    x = share * x + (1 - share) * other;  // mixup
    const Tensor noise = torch::empty({32, 24}, x.options()).exponential_() * 0.01;
    return out->forward(torch::relu(F::linear(x, weight + noise)));
  }
  Tensor weight = register_parameter("weight", torch::randn({32, 24}) * 0.2);
  nn::Linear out = register_module("out", nn::Linear(32, 10));
};
TORCH_MODULE(Noisy);

enum class Data { kImages28, kImages8, kVectors, kPatches, kSequences, kWords };
constexpr int64_t kSamples = 4;

Batch batch_of(Data data, int64_t number) {
  const auto generator = at::detail::createCPUGenerator(static_cast<uint64_t>(100 + number));
  const auto real = [&](std::vector<int64_t> shape) {
    shape.insert(shape.begin(), kSamples);
    return torch::randn(shape, generator);
  };
  const Tensor labels = torch::randint(10, {kSamples}, generator, torch::kLong);
  switch (data) {
    case Data::kImages28:
      return {real({1, 28, 28}), labels};
    case Data::kImages8:
      return {real({3, 8, 8}), labels};
    case Data::kVectors:
      return {real({24}), labels};
    case Data::kPatches:
      return {real({8, 16}), labels};
    case Data::kSequences:
      return {real({96}), labels};
    default:
      return {torch::randint(40, {kSamples}, generator, torch::kLong), labels};
  }
}

template <class Holder>
Tensor classify(Holder& net, const Batch& batch) {
  return torch::cross_entropy_loss(net->forward(batch[0]), batch[1]);
}
template <class Holder>
Tensor own_loss(Holder& net, const Batch& batch) {
  return net->forward(batch[0]);
}
Tensor nll(Mnist& net, const Batch& batch) { return torch::nll_loss(net->forward(batch[0]), batch[1]); }
Tensor vae_loss(Vae& vae, const Batch& batch) {
  const auto [guess, mean, log_variance] = vae->forward(batch[0]);
  const Tensor divergence = -0.5 * (1 + log_variance - mean.square() - log_variance.exp()).sum(1).mean();
  return torch::mse_loss(guess, batch[0]) + 0.01 * divergence;
}
Tensor skip_gram_loss(SkipGram& net, const Batch& batch) { return net->forward(batch[0], batch[1]); }

// Each rank describes a module of its own: ranks that are threads would share its mode.
using Make = TrainingModel (*)();
template <class Holder, Tensor (*loss)(Holder&, const Batch&) = classify<Holder>>
TrainingModel make() {
  return with_loss(describe([] { return Holder(); }), loss);
}
template <nn::Sequential (*construct)()>
TrainingModel make() {
  return with_loss(describe(construct), classify<nn::Sequential>);
}

struct Model {
  const char* name;
  Make make;
  Data data;
  bool draws_in_evaluation = false;
  friend void PrintTo(const Model& model, std::ostream* out) { *out << model.name; }
};

constexpr Model kModels[] = {
    {"Mnist", make<Mnist, nll>, Data::kImages28},
    {"Vae", make<Vae, vae_loss>, Data::kVectors, true},
    {"StochasticDepth", make<StochasticDepth>, Data::kVectors},
    {"MaskedAutoencoder", make<MaskedAutoencoder, own_loss<MaskedAutoencoder>>, Data::kPatches, true},
    {"Diffusion", make<Diffusion, own_loss<Diffusion>>, Data::kVectors, true},
    {"GumbelSoftmax", make<Gumbel>, Data::kVectors, true},
    {"InPlace", make<inplace_convnet>, Data::kImages8},
    {"Rrelu", make<rrelu_net>, Data::kVectors},
    {"Selu", make<selu_net>, Data::kVectors},
    {"Attention", make<Attention>, Data::kSequences},
    {"SkipGram", make<SkipGram, skip_gram_loss>, Data::kWords, true},
    {"Noisy", make<Noisy>, Data::kVectors, true},
};

struct Outcome {
  std::vector<float> losses;
  double evaluation = 0;
  std::map<std::string, Tensor> parameters;
};

std::vector<Outcome> train(const Model& model, const Layout& layout, int64_t chunks, Precision precision) {
  std::vector<Outcome> outcomes;
  std::mutex mutex;
  World::threads(static_cast<int>(layout.devices()), [&](World& world) {
    const TrainingModel own = model.make();
    Trainer trainer(world, own,
                    {.optimizer = AdamW{.lr = 3e-3},
                     .microbatches = 3,
                     .seed = 5,
                     .precision = precision,
                     .tensor_chunks = chunks,
                     .layout = layout});
    Outcome outcome;
    for (int64_t step = 0; step < 4; ++step)
      outcome.losses.push_back(
          trainer.step([&](int64_t m) { return batch_of(model.data, 3 * step + m); }).loss);
    outcome.evaluation = trainer.evaluate(5, [&](int64_t i) { return batch_of(model.data, 50 + i); });
    for (const auto& parameter : own.module->named_parameters())
      outcome.parameters[parameter.key()] = trainer.parameter(parameter.key());
    const std::lock_guard lock(mutex);
    outcomes.push_back(std::move(outcome));
  });
  return outcomes;
}

void expect_one_answer(const Model& model, Precision precision, int64_t chunks,
                       const std::vector<Layout>& layouts) {
  std::optional<Outcome> want;
  for (const Layout& layout : layouts) {
    SCOPED_TRACE(print(layout) + (chunks > 1 ? ", in parts" : "") +
                 (precision == Precision::kBF16 ? ", bf16" : ""));
    try {
      for (const Outcome& got : train(model, layout, chunks, precision)) {
        if (!want) want = got;
        EXPECT_EQ(got.losses, want->losses);
        EXPECT_EQ(got.evaluation, want->evaluation);
        for (const auto& [name, value] : got.parameters)
          EXPECT_TRUE(torch::equal(value, want->parameters.at(name))) << name;
        for (float loss : got.losses) EXPECT_TRUE(std::isfinite(loss));
      }
    } catch (const std::exception& error) {
      ADD_FAILURE() << error.what();
    }
  }
}

class RandomModels : public testing::TestWithParam<Model> {
 protected:
  const Model& model = GetParam();
};

TEST_P(RandomModels, GiveOneAnswerOverDevices) {
  expect_one_answer(model, Precision::kFP32, 1, {{}, {.dp = 2}, {.dp = 3, .zero = 3}});
  expect_one_answer(model, Precision::kBF16, 1, {{}, {.dp = 2}});
}

TEST_P(RandomModels, GiveOneAnswerInParts) {
  expect_one_answer(model, Precision::kFP32, 2, {{}, {.tp = 2}, {.dp = 2, .tp = 2}});
  expect_one_answer(model, Precision::kBF16, 2, {{}, {.tp = 2}});
}

// The same batch in every step, and weights that hardly move: what is left is chance.
TEST_P(RandomModels, DrawAnewInEveryStepAndBatch) {
  World::threads(1, [&](World& world) {
    const auto same = [&](int64_t) { return batch_of(model.data, 7); };
    const auto losses = [&](uint64_t seed) {
      Trainer trainer(world, model.make(), {.optimizer = Sgd{.lr = 1e-12}, .seed = seed});
      std::vector<double> all{trainer.step(same).loss, trainer.step(same).loss};
      all.push_back(trainer.evaluate(1, same));
      all.push_back(trainer.evaluate(2, same));
      all.push_back(trainer.evaluate(2, same));
      return all;
    };
    const std::vector<double> first = losses(1);
    EXPECT_NE(first[0], first[1]);
    EXPECT_EQ(first[2] != first[3], model.draws_in_evaluation);
    EXPECT_EQ(first[3], first[4]);
    EXPECT_EQ(losses(1), first);
  });
}

INSTANTIATE_TEST_SUITE_P(All, RandomModels, testing::ValuesIn(kModels),
                         [](const auto& info) { return std::string(info.param.name); });

}  // namespace
}  // namespace shoal
