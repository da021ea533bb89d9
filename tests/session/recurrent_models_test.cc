// Small models of the kinds that recurrent layers are used for: one device gives eager's bits, and every
// layout gives the same.
#include <gtest/gtest.h>
#include <torch/torch.h>

#include <mutex>

#include "kernels/cpu/reproducible.h"
#include "shoal/shoal.h"
#include "support/eager_loop.h"

namespace shoal {
namespace {

namespace nn = torch::nn;
namespace rnn = torch::nn::utils::rnn;
using torch::Tensor;

constexpr int64_t kSamples = 4, kSteps = 5, kVocabulary = 12, kWidth = 8, kTags = 4;

Batch tokens_of(int64_t step, int64_t m) {
  return test::random_tokens(step, m, kSamples, kSteps, kVocabulary);
}
Tensor token_loss(const Tensor& logits, const Tensor& targets) {
  return torch::cross_entropy_loss(logits.reshape({-1, logits.size(-1)}), targets.reshape({-1}));
}

// Tags each token: an embedding under two layers of LSTM in both directions.
struct TaggerImpl : nn::Module {
  TaggerImpl() {
    embedding = register_module("embedding", nn::Embedding(kVocabulary, kWidth));
    lstm = register_module(
        "lstm",
        nn::LSTM(nn::LSTMOptions(kWidth, kWidth).num_layers(2).bidirectional(true).batch_first(true)));
    head = register_module("head", nn::Linear(2 * kWidth, kTags));
  }
  Tensor loss(const Batch& batch) {
    const auto [h, last] = lstm->forward(embedding(batch[0]));
    return token_loss(head(h), batch[1] % kTags);
  }
  nn::Embedding embedding{nullptr};
  nn::LSTM lstm{nullptr};
  nn::Linear head{nullptr};
};
TORCH_MODULE(Tagger);

// Reads with a GRU, then writes token by token with a cell, each from the one before.
struct EncoderDecoderImpl : nn::Module {
  EncoderDecoderImpl() {
    source = register_module("source", nn::Embedding(kVocabulary, kWidth));
    target = register_module("target", nn::Embedding(kVocabulary, kWidth));
    encoder = register_module("encoder", nn::GRU(nn::GRUOptions(kWidth, kWidth).batch_first(true)));
    decoder = register_module("decoder", nn::GRUCell(kWidth, kWidth));
    head = register_module("head", nn::Linear(kWidth, kVocabulary));
  }
  Tensor loss(const Batch& batch) {
    Tensor h = std::get<1>(encoder->forward(source(batch[0])))[0];
    std::vector<Tensor> logits;
    for (int64_t t = 0; t < kSteps; ++t) {
      h = decoder(target(batch[0].select(1, t)), h);
      logits.push_back(head(h));
    }
    return token_loss(torch::stack(logits, 1), batch[1]);
  }
  nn::Embedding source{nullptr}, target{nullptr};
  nn::GRU encoder{nullptr};
  nn::GRUCell decoder{nullptr};
  nn::Linear head{nullptr};
};
TORCH_MODULE(EncoderDecoder);

// One class for a sequence, from the last states of both directions.
struct ClassifierImpl : nn::Module {
  ClassifierImpl() {
    embedding = register_module("embedding", nn::Embedding(kVocabulary, kWidth));
    lstm = register_module("lstm", nn::LSTM(nn::LSTMOptions(kWidth, kWidth).bidirectional(true)));
    head = register_module("head", nn::Linear(2 * kWidth, kTags));
  }
  Tensor loss(const Batch& batch) {
    const auto [h, last] = lstm->forward(embedding(batch[0].t()));
    const Tensor states = std::get<0>(last).transpose(0, 1).flatten(1);
    return torch::cross_entropy_loss(head(states), batch[1].select(1, 0) % kTags);
  }
  nn::Embedding embedding{nullptr};
  nn::LSTM lstm{nullptr};
  nn::Linear head{nullptr};
};
TORCH_MODULE(Classifier);

// Describes a picture, which a convolution makes of the tokens: its features are the first state of a cell.
struct CaptionerImpl : nn::Module {
  CaptionerImpl() {
    conv = register_module("conv", nn::Conv2d(nn::Conv2dOptions(1, kWidth, 3).padding(1)));
    words = register_module("words", nn::Embedding(kVocabulary, kWidth));
    cell = register_module("cell", nn::LSTMCell(kWidth, kWidth));
    simple = register_module("simple", nn::RNNCell(kWidth, kWidth));
    head = register_module("head", nn::Linear(kWidth, kVocabulary));
  }
  Tensor loss(const Batch& batch) {
    const auto dtype = words(batch[0]).scalar_type();  // that the model computes in
    const auto picture = torch::one_hot(batch[0], kVocabulary).to(dtype).unsqueeze(1);
    const Tensor features = torch::relu(conv(picture)).mean({2, 3});
    std::tuple<Tensor, Tensor> state = {features, torch::zeros_like(features)};
    Tensor above = torch::zeros_like(features);
    std::vector<Tensor> logits;
    for (int64_t t = 0; t < kSteps; ++t) {
      state = cell(words(batch[0].select(1, t)), state);
      above = simple(std::get<0>(state), above);
      logits.push_back(head(above));
    }
    return token_loss(torch::stack(logits, 1), batch[1]);
  }
  nn::Conv2d conv{nullptr};
  nn::Embedding words{nullptr};
  nn::LSTMCell cell{nullptr};
  nn::RNNCell simple{nullptr};
  nn::Linear head{nullptr};
};
TORCH_MODULE(Captioner);

// Predicts the next token of sequences whose lengths are known, packed.
struct CharRnnImpl : nn::Module {
  CharRnnImpl() {
    embedding = register_module("embedding", nn::Embedding(kVocabulary, kWidth));
    lstm = register_module(
        "lstm",
        nn::LSTM(nn::LSTMOptions(kWidth, kWidth).num_layers(2).bidirectional(true).batch_first(true)));
    rnn = register_module("rnn", nn::RNN(2 * kWidth, kWidth));
    head = register_module("head", nn::Linear(kWidth, kVocabulary));
  }
  Tensor loss(const Batch& batch) {
    const Tensor lengths = torch::tensor({3, 5, 1, 4});
    const auto pack = [&](const Tensor& t) {
      return rnn::pack_padded_sequence(t, lengths, /*batch_first=*/true, /*enforce_sorted=*/false);
    };
    const auto [h, last] = lstm->forward_with_packed_input(pack(embedding(batch[0])));
    const auto [y, top] = rnn->forward_with_packed_input(h);
    const auto [padded, same] = rnn::pad_packed_sequence(y, /*batch_first=*/true);
    return token_loss(head(pack(padded).data()), pack(batch[1]).data());
  }
  nn::Embedding embedding{nullptr};
  nn::LSTM lstm{nullptr};
  nn::RNN rnn{nullptr};
  nn::Linear head{nullptr};
};
TORCH_MODULE(CharRnn);

template <class Holder>
Tensor loss_of(Holder& model, const Batch& batch) {
  return model->loss(batch);
}

constexpr int64_t kTrained = 4, kMicrobatches = 2;

struct Result {
  std::vector<float> losses;
  std::map<std::string, Tensor> parameters;
};

// Trains on the devices of `layout`; described when it is built by the trainer, else built here with its
// seed.
template <class Holder>
Result train(const Layout& layout, int64_t chunks, Precision precision, bool described) {
  Result result;
  const std::vector<std::string> names = Holder()->named_parameters().keys();
  World::threads(static_cast<int>(layout.devices()), [&](World& world) {
    const TrainerOptions options{.optimizer = AdamW{.lr = 1e-2},
                                 .microbatches = kMicrobatches,
                                 .seed = 7,
                                 .precision = precision,
                                 .tensor_chunks = chunks,
                                 .layout = layout};
    std::optional<Trainer> trainer;
    if (described) {
      trainer.emplace(world, describe([] { return Holder(); }), loss_of<Holder>, options);
    } else {
      static std::mutex one_at_a_time;  // LibTorch's generator is shared by the threads
      const std::lock_guard lock(one_at_a_time);
      torch::manual_seed(7);
      trainer.emplace(world, Holder(), loss_of<Holder>, options);
    }
    std::vector<float> losses;
    for (int64_t step = 0; step < kTrained; ++step)
      losses.push_back(trainer->step([&](int64_t m) { return tokens_of(step, m); }).loss);
    std::map<std::string, Tensor> parameters;
    for (const std::string& name : names) parameters[name] = trainer->parameter(name);
    if (world.rank() == 0) result = {losses, parameters};
  });
  return result;
}

void expect_same(const Result& got, const Result& want, const std::string& what) {
  EXPECT_EQ(got.losses, want.losses) << what;
  for (const auto& [name, value] : want.parameters)
    EXPECT_TRUE(torch::equal(got.parameters.at(name), value))
        << what << ": " << name << ", at most by "
        << (got.parameters.at(name) - value).abs().max().template item<float>();
}

template <class Holder>
struct RecurrentModels : testing::Test {};
using Models = testing::Types<Tagger, EncoderDecoder, Classifier, Captioner, CharRnn>;
TYPED_TEST_SUITE(RecurrentModels, Models);

TYPED_TEST(RecurrentModels, OneDeviceGivesEagersBits) {
  kernels::make_reproducible();
  torch::set_num_threads(1);
  torch::manual_seed(7);
  TypeParam eager;
  Result want;
  want.losses =
      test::eager_adamw_loop(*eager, kTrained, kMicrobatches, {1e-2, 0.9, 0.999, 1e-8, 0.01},
                             [&](int64_t step, int64_t m) { return loss_of(eager, tokens_of(step, m)); });
  for (const auto& parameter : eager->named_parameters())
    want.parameters[parameter.key()] = parameter.value();
  expect_same(train<TypeParam>({}, 1, Precision::kFP32, true), want, "described");
  expect_same(train<TypeParam>({}, 1, Precision::kFP32, false), want, "built");
}

TYPED_TEST(RecurrentModels, EveryLayoutGivesOneAnswer) {
  for (const auto precision : {Precision::kFP32, Precision::kBF16}) {
    const std::string kind = precision == Precision::kBF16 ? "bf16" : "fp32";
    const Result whole = train<TypeParam>({}, 1, precision, true);
    EXPECT_NE(whole.losses.back(), whole.losses.front()) << kind;
    expect_same(train<TypeParam>({.dp = 2}, 1, precision, true), whole, kind + " dp=2");
    expect_same(train<TypeParam>({.dp = 2, .zero = 3}, 1, precision, false), whole, kind + " dp=2 zero=3");
    for (const int64_t chunks : {2, 4}) {
      const Result divided = train<TypeParam>({}, chunks, precision, true);
      // Another order of sums: close to the whole, but not to the bit.
      for (size_t step = 0; step < whole.losses.size(); ++step)
        EXPECT_NEAR(divided.losses[step], whole.losses[step], precision == Precision::kBF16 ? 0.05 : 1e-4)
            << kind << " C=" << chunks << " step " << step;
      for (const Layout& layout : {Layout{.tp = 2}, Layout{.dp = 2}, Layout{.dp = 2, .tp = 2, .zero = 3}})
        expect_same(train<TypeParam>(layout, chunks, precision, false), divided,
                    kind + " C=" + std::to_string(chunks) + " " + print(layout));
    }
  }
}

}  // namespace
}  // namespace shoal
