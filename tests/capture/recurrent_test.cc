// Recurrent layers: what is replayed is what eager computes, to the bit, for every option.
#include <gtest/gtest.h>
#include <torch/torch.h>

#include <algorithm>

#include "base/text.h"
#include "capture/capture.h"
#include "kernels/cpu/cpu_device.h"
#include "shoal/shoal.h"
#include "support/expect_error.h"

namespace shoal {
namespace {

namespace nn = torch::nn;
namespace rnn = torch::nn::utils::rnn;
using torch::Tensor;

struct Options {
  std::string kind;  // lstm, gru, tanh, relu
  int64_t layers = 1, projection = 0;
  bool bidirectional = false, bias = true, batch_first = false, given_state = false;
  double dropout = 0;

  std::string name() const {
    return cat(kind, " layers ", layers, " projection ", projection, bidirectional ? " bidirectional" : "",
               bias ? "" : " no bias", batch_first ? " batch_first" : "", given_state ? " given state" : "",
               " dropout ", dropout);
  }
};

// Rows that are longer than a vector, and no multiple of one.
constexpr int64_t kSteps = 4, kSamples = 5, kInputs = 6, kHidden = 37;

// Any of the layers. Its loss reads the output and the last states.
struct LayerImpl : nn::Module {
  explicit LayerImpl(const Options& options_in, Tensor lengths_in = {})
      : options(options_in), lengths(std::move(lengths_in)) {
    const auto& o = options;
    if (o.kind == "lstm")
      lstm = register_module("lstm", nn::LSTM(nn::LSTMOptions(kInputs, kHidden)
                                                  .num_layers(o.layers)
                                                  .bidirectional(o.bidirectional)
                                                  .bias(o.bias)
                                                  .batch_first(o.batch_first)
                                                  .dropout(o.dropout)
                                                  .proj_size(o.projection)));
    else if (o.kind == "gru")
      gru = register_module("gru", nn::GRU(nn::GRUOptions(kInputs, kHidden)
                                               .num_layers(o.layers)
                                               .bidirectional(o.bidirectional)
                                               .bias(o.bias)
                                               .batch_first(o.batch_first)
                                               .dropout(o.dropout)));
    else {
      using Nonlinearity = nn::RNNOptions::nonlinearity_t;
      simple =
          register_module("rnn", nn::RNN(nn::RNNOptions(kInputs, kHidden)
                                             .num_layers(o.layers)
                                             .bidirectional(o.bidirectional)
                                             .bias(o.bias)
                                             .batch_first(o.batch_first)
                                             .dropout(o.dropout)
                                             .nonlinearity(o.kind == "tanh" ? Nonlinearity(torch::kTanh)
                                                                            : Nonlinearity(torch::kReLU))));
    }
    project = register_module("project", nn::Linear(kInputs, kInputs));
    initial = register_parameter("initial", torch::linspace(-1, 1, kHidden));
  }

  // [layers * directions, n, width] made of a parameter, so that gradients flow into the initial state.
  Tensor state(int64_t width) const {
    const int64_t count = options.layers * (options.bidirectional ? 2 : 1);
    return initial.narrow(0, 0, width).expand({count, kSamples, width});
  }

  Tensor forward(const Tensor& batch) {
    const Tensor x = project(batch);
    std::vector<Tensor> seen;
    if (lstm) {
      std::optional<std::tuple<Tensor, Tensor>> given;
      if (options.given_state)
        given = {state(options.projection > 0 ? options.projection : kHidden), state(kHidden)};
      const auto [y, last] = lstm->forward(x, given);
      seen = {y, std::get<0>(last), std::get<1>(last)};
    } else {
      const Tensor given = options.given_state ? state(kHidden) : Tensor();
      const auto [y, last] = gru ? gru->forward(x, given) : simple->forward(x, given);
      seen = {y, last};
    }
    Tensor loss = torch::zeros({});
    for (size_t i = 0; i < seen.size(); ++i)
      loss = loss + (static_cast<double>(i) + 0.5) * seen[i].pow(2).mean();
    return loss;
  }

  Tensor forward_packed(const Tensor& batch, bool sorted) {
    const Tensor x = project(batch);
    const auto packed = rnn::pack_padded_sequence(x, lengths, options.batch_first, /*enforce_sorted=*/sorted);
    rnn::PackedSequence output = packed;
    Tensor last;
    if (lstm) {
      const auto made = lstm->forward_with_packed_input(packed);
      output = std::get<0>(made);
      last = std::get<0>(std::get<1>(made));
    } else {
      std::tie(output, last) =
          gru ? gru->forward_with_packed_input(packed) : simple->forward_with_packed_input(packed);
    }
    const auto [y, own_lengths] =
        rnn::pad_packed_sequence(output, options.batch_first, /*padding_value=*/0.25);
    return (y.pow(2).sum({options.batch_first ? 1 : 0, 2}) / own_lengths).mean() + last.pow(2).mean();
  }

  Options options;
  Tensor lengths;  // of the host
  nn::LSTM lstm{nullptr};
  nn::GRU gru{nullptr};
  nn::RNN simple{nullptr};
  nn::Linear project{nullptr};
  Tensor initial;
};
TORCH_MODULE(Layer);

Tensor sample(const Options& o) {
  torch::manual_seed(3);
  return torch::randn(o.batch_first ? std::vector<int64_t>{kSamples, kSteps, kInputs}
                                    : std::vector<int64_t>{kSteps, kSamples, kInputs});
}

using Loss = std::function<Tensor(Layer&, const Batch&)>;

void expect_equal(const Options& options, const Loss& loss, const Tensor& lengths = {}) {
  for (const auto precision : {Precision::kFP32, Precision::kBF16}) {
    const std::string name = cat(options.name(), precision == Precision::kBF16 ? " bf16" : " fp32");
    try {
      check_capture(describe([&] { return Layer(options, lengths); }), loss, {sample(options)}, precision);
      torch::manual_seed(5);
      check_capture(Layer(options, lengths), loss, {sample(options)}, precision);
    } catch (const std::exception& error) {
      ADD_FAILURE() << name << ": " << error.what();
    }
  }
}

struct Recurrent : testing::Test {
  void SetUp() override { torch::set_num_threads(1); }
};

Tensor whole(Layer& layer, const Batch& batch) { return layer->forward(batch[0]); }

TEST_F(Recurrent, EveryOptionEqualsEager) {
  for (const char* kind : {"lstm", "gru", "tanh", "relu"})
    for (const int64_t layers : {1, 2})
      for (const bool bidirectional : {false, true}) {
        const Options plain{.kind = kind, .layers = layers, .bidirectional = bidirectional};
        std::vector<Options> all = {plain};
        const auto with = [&](const std::function<void(Options&)>& change) {
          change(all.emplace_back(plain));
        };
        with([](Options& o) { o.bias = false; });
        with([](Options& o) { o.batch_first = true; });
        with([](Options& o) { o.given_state = true; });
        with([](Options& o) { o.batch_first = true, o.bias = false, o.given_state = true; });
        if (layers > 1) with([](Options& o) { o.dropout = 0.5; });
        if (plain.kind == "lstm") {
          with([](Options& o) { o.projection = 21; });
          with([](Options& o) { o.projection = 21, o.bias = false, o.given_state = true; });
          with([](Options& o) { o.projection = 33, o.batch_first = true; });
        }
        for (const Options& options : all) expect_equal(options, whole);
      }
}

TEST_F(Recurrent, PackedSequencesOfKnownLengthsEqualEager) {
  for (const char* kind : {"lstm", "gru", "tanh", "relu"})
    for (const bool bidirectional : {false, true})
      for (const bool batch_first : {false, true}) {
        const Options options{
            .kind = kind, .layers = 2, .bidirectional = bidirectional, .batch_first = batch_first};
        const auto packed = [](bool sorted) {
          return
              [sorted](Layer& layer, const Batch& batch) { return layer->forward_packed(batch[0], sorted); };
        };
        expect_equal(options, packed(true), torch::tensor({4, 3, 2, 1, 1}));
        expect_equal(options, packed(true), torch::tensor({3, 3, 3, 2, 2}));
        expect_equal(options, packed(false), torch::tensor({2, 4, 1, 4, 3}));
      }
}

// Cells in a loop, each step fed with the state before.
TEST_F(Recurrent, CellsEqualEager) {
  struct CellsImpl : nn::Module {
    explicit CellsImpl(bool bias) {
      gru = register_module("gru", nn::GRUCell(nn::GRUCellOptions(kInputs, kHidden).bias(bias)));
      lstm = register_module("lstm", nn::LSTMCell(nn::LSTMCellOptions(kHidden, kHidden).bias(bias)));
      tanh = register_module("tanh", nn::RNNCell(nn::RNNCellOptions(kHidden, kHidden).bias(bias)));
      relu = register_module(
          "relu", nn::RNNCell(nn::RNNCellOptions(kHidden, kHidden).bias(bias).nonlinearity(torch::kReLU)));
    }
    nn::GRUCell gru{nullptr};
    nn::LSTMCell lstm{nullptr};
    nn::RNNCell tanh{nullptr}, relu{nullptr};
  };
  const auto loss = [](const std::shared_ptr<CellsImpl>& cells, const Batch& batch) {
    Tensor a, c, d, total = torch::zeros({});
    std::tuple<Tensor, Tensor> b = {
        torch::ones_like(batch[0].select(0, 0)).mean(1, true).expand({kSamples, kHidden}),
        torch::zeros({kSamples, kHidden}, batch[0].options())};
    for (int64_t t = 0; t < kSteps; ++t) {
      a = cells->gru(batch[0][t], a);
      b = cells->lstm(a, b);
      c = cells->tanh(std::get<0>(b), c);
      d = cells->relu(c, d);
      total = total + (a + std::get<1>(b) + d).pow(2).mean();
    }
    return total;
  };
  for (const bool bias : {true, false})
    for (const auto precision : {Precision::kFP32, Precision::kBF16}) {
      torch::manual_seed(5);
      const nn::ModuleHolder<CellsImpl> cells(bias);
      check_capture(
          cells,
          [&](const nn::ModuleHolder<CellsImpl>& m, const Batch& batch) { return loss(m.ptr(), batch); },
          {sample({.kind = "gru"})}, precision);
    }
}

// What a plain LSTM comes apart into when a run divides it is close to what eager computes.
TEST_F(Recurrent, ADivisibleLstmIsPrimitivesAWholeOneIsNot) {
  const auto model = with_loss(describe([] { return Layer(Options{.kind = "lstm"}); }), whole);
  const std::vector<graph::TensorType> types = {graph::type_of(sample({.kind = "lstm"}))};
  const auto count = [&](capture::Form form) {
    const auto graph = capture::capture_training(kernels::cpu(), model, types, Precision::kFP32, form);
    return std::ranges::count(graph.nodes, "aten::mkldnn_rnn_layer", &graph::Node::op);
  };
  EXPECT_EQ(count(capture::Form::kWhole), 1);
  EXPECT_EQ(count(capture::Form::kDivisible), 0);
}

// A weight that serves every step has one gradient, not one for each step.
TEST_F(Recurrent, StepsShareOneContribution) {
  const auto model = with_loss(describe([] { return Layer(Options{.kind = "gru", .layers = 2}); }), whole);
  const std::vector<graph::TensorType> types = {graph::type_of(sample({.kind = "gru"}))};
  for (const auto& gradient : capture::capture_training(kernels::cpu(), model, types, Precision::kFP32).gradients)
    EXPECT_EQ(gradient.contributions.size(), 1u) << gradient.parameter;
}

TEST_F(Recurrent, LengthsOfTheBatchAreRefused) {
  const auto from_batch = [](Layer& layer, const Batch& batch) {
    const auto packed = rnn::pack_padded_sequence(layer->project(batch[0]), batch[1], false, false);
    return std::get<0>(layer->gru->forward_with_packed_input(packed)).data().mean();
  };
  const Options options{.kind = "gru"};
  EXPECT_ERROR(
      check_capture(Layer(options), from_batch, {sample(options), torch::full({kSamples}, 2, torch::kLong)}),
      InputError,
      "capture - pack_padded_sequence: its lengths are computed from the batch or from the model's "
      "tensors, and how much is packed depends on them; give them as a tensor of the host "
      "(torch::tensor({5, 3}), kept by the model or the loss), or run the layer on the padded sequences "
      "and mask the loss");
}

}  // namespace
}  // namespace shoal
