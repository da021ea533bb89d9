// Two networks that train against each other (CycleGAN, in small), each by its own Trainer, and a decoder that
// looks at its mask on the host: one answer on every layout.
#include <mutex>

#include "divided_models.h"

namespace shoal {
namespace {

namespace nn = torch::nn;
using test::expect_one_answer;
using torch::Tensor;

nn::Sequential generator() {
  nn::Sequential model;
  model->push_back(nn::ReflectionPad2d(1));
  model->push_back(nn::Conv2d(nn::Conv2dOptions(4, 8, 3)));
  model->push_back(nn::InstanceNorm2d(nn::InstanceNorm2dOptions(8).affine(true)));
  model->push_back(nn::ReLU(nn::ReLUOptions(true)));
  model->push_back(nn::Conv2d(nn::Conv2dOptions(8, 4, 3).padding(1)));
  model->push_back(nn::Tanh());
  return model;
}

struct GeneratorsImpl : nn::Module {
  nn::Sequential there{register_module("there", generator())}, back{register_module("back", generator())};
};
TORCH_MODULE(Generators);

struct CriticImpl : nn::Module {
  nn::Conv2d first{register_module("first", nn::Conv2d(nn::Conv2dOptions(4, 8, 4).stride(2).padding(1)))},
      last{register_module("last", nn::Conv2d(nn::Conv2dOptions(8, 4, 3).padding(1)))};
  Tensor forward(const Tensor& x) { return last(torch::leaky_relu(first(x), 0.2)); }
};
TORCH_MODULE(Critic);

struct Pair {
  Generators generators;
  Critic critic;
};
Pair built_pair() {
  torch::manual_seed(11);
  return {};
}

Tensor loss_of_generators(Pair& pair, const Batch& batch) {
  const Tensor fake = pair.generators->there->forward(batch[0]);
  const Tensor judged = pair.critic(fake);
  return torch::mse_loss(judged, torch::ones_like(judged)) +
         10 * torch::l1_loss(pair.generators->back->forward(fake), batch[0]);
}
Tensor loss_of_critic(Pair& pair, const Batch& batch) {
  const Tensor real = pair.critic(batch[1]), fake = pair.critic(pair.generators->there->forward(batch[0]).detach());
  return 0.5 * (torch::mse_loss(real, torch::ones_like(real)) + torch::mse_loss(fake, torch::zeros_like(fake)));
}

Batch images(int64_t seed) { return {test::normal({4, 4, 8, 8}, seed), test::normal({4, 4, 8, 8}, seed + 500)}; }

struct Played {
  std::vector<float> losses;
  std::vector<Tensor> weights;
};

Played play(const Layout& layout, int64_t chunks) {
  Played played;
  std::mutex mutex;
  World::threads(static_cast<int>(layout.devices()), [&](World& world) {
    Pair pair = [&] {
      const std::lock_guard lock(mutex);  // LibTorch's generator is the process's
      return built_pair();
    }();
    const TrainerOptions options{
        .optimizer = AdamW{.lr = 1e-3}, .microbatches = 2, .tensor_chunks = chunks, .layout = layout};
    Trainer generators(
        world, pair.generators, [&](Generators&, const Batch& batch) { return loss_of_generators(pair, batch); }, options);
    Trainer critic(
        world, pair.critic, [&](Critic&, const Batch& batch) { return loss_of_critic(pair, batch); }, options);
    Played mine;
    for (int64_t step = 0; step < 4; ++step) {
      const auto data = [&](int64_t m) { return images(10 * step + m); };
      mine.losses.push_back(critic.step(data).loss);
      mine.losses.push_back(generators.step(data).loss);
    }
    for (const auto& named : pair.generators->named_parameters()) mine.weights.push_back(generators.parameter(named.key()));
    for (const auto& named : pair.critic->named_parameters()) mine.weights.push_back(critic.parameter(named.key()));
    const std::lock_guard lock(mutex);
    if (world.rank() == 0) played = mine;
  });
  return played;
}

TEST(AdversarialModels, GiveOneAnswerOnEveryLayout) {
  for (const int64_t chunks : {1, 2}) {
    const Played alone = play({}, chunks);
    std::vector<Layout> layouts = {{.dp = 2}, {.dp = 2, .zero = 3}, {.dp = 2, .zero = 0}};
    if (chunks == 2) layouts = {{.tp = 2}, {.dp = 2, .tp = 2}, {.dp = 2, .zero = 3}};
    for (const Layout& layout : layouts) {
      const Played other = play(layout, chunks);
      EXPECT_EQ(other.losses, alone.losses) << print(layout);
      for (size_t i = 0; i < alone.weights.size(); ++i)
        EXPECT_TRUE(torch::equal(other.weights[i], alone.weights[i])) << print(layout) << ": tensor " << i;
    }
  }
}

TEST(AdversarialModels, LearnAsEagerDoes) {
  const Played ours = play({}, 1);
  Pair pair = built_pair();
  torch::optim::AdamW for_generators(pair.generators->parameters(), torch::optim::AdamWOptions(1e-3));
  torch::optim::AdamW for_critic(pair.critic->parameters(), torch::optim::AdamWOptions(1e-3));
  std::vector<float> losses;
  for (int64_t step = 0; step < 4; ++step)
    for (const bool is_critic : {true, false}) {
      auto& optimizer = is_critic ? for_critic : for_generators;
      optimizer.zero_grad();
      double sum = 0;
      for (int64_t m = 0; m < 2; ++m) {
        const Batch batch = images(10 * step + m);
        const Tensor loss = is_critic ? loss_of_critic(pair, batch) : loss_of_generators(pair, batch);
        sum += loss.item<double>();
        (loss / 2).backward();
      }
      optimizer.step();
      losses.push_back(static_cast<float>(sum / 2));
    }
  for (size_t i = 0; i < losses.size(); ++i) EXPECT_NEAR(ours.losses[i], losses[i], 1e-4 * std::abs(losses[i])) << i;
}

// Masks made of arange alone are looked at on the host, as decoders do to choose a kernel.
struct DecoderImpl : nn::Module {
  nn::Embedding embedding{register_module("embedding", nn::Embedding(16, 8))};
  nn::Linear qkv{register_module("qkv", nn::Linear(8, 24))}, out{register_module("out", nn::Linear(8, 16))};
  Tensor forward(const Tensor& tokens) {
    const int64_t length = tokens.size(1);
    const Tensor at = torch::arange(length), mask = at.unsqueeze(0) <= at.unsqueeze(1);
    const std::vector<Tensor> parts = qkv(embedding(tokens)).chunk(3, -1);
    Tensor scores = torch::matmul(parts[0], parts[1].transpose(1, 2)) / 2.8;
    if (!mask.all().item<bool>()) scores = scores.masked_fill(mask.logical_not(), -1e4);
    if (torch::equal(mask, mask.tril()) && mask.sum().item<int64_t>() == length * (length + 1) / 2)
      scores = scores * 1.5;
    return out(torch::matmul(torch::softmax(scores, -1), parts[2]));
  }
};
TORCH_MODULE(Decoder);

TEST(DecoderModels, ADecoderThatLooksAtItsMask) {
  expect_one_answer({with_loss(describe([] { return Decoder(); }),
                               [](Decoder& net, const Batch& batch) {
                                 return torch::cross_entropy_loss(net(batch[0]).flatten(0, 1), batch[1].flatten());
                               }),
                     [](int64_t seed) -> Batch {
                       const auto numbers = at::detail::createCPUGenerator(static_cast<uint64_t>(seed));
                       return {torch::randint(16, {4, 6}, numbers, torch::kLong),
                               torch::randint(16, {4, 6}, numbers, torch::kLong)};
                     }});
}

}  // namespace
}  // namespace shoal
