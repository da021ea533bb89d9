// A divided graph computes what the undivided one does, up to rounding; local graphs compute what it does, to
// the bit.
#include "numerics/divide.h"

#include <gtest/gtest.h>
#include <torch/torch.h>

#include "base/text.h"
#include "capture/capture.h"
#include "kernels/cpu/cpu_device.h"
#include "kernels/cpu/reproducible.h"
#include "lower/local_graph.h"
#include "models/gpt.h"
#include "models/llama.h"
#include "models/mlp.h"
#include "models/resnet.h"
#include "numerics/cut_map.h"
#include "numerics/passes.h"
#include "run/exchange.h"
#include "run/frame.h"
#include "shoal/shoal.h"

namespace shoal {
namespace {

using graph::Graph;
using graph::InputKind;

at::Tensor part_of(const at::Tensor& whole, graph::Cut cut, int64_t parts, int64_t part) {
  std::vector<int64_t> seen = whole.sizes().vec();
  const auto dim = static_cast<size_t>(cut.dim);
  const int64_t rest = seen[dim] / (cut.outer * parts);
  std::vector<int64_t> local = seen;
  local[dim] /= parts;
  seen[dim] = rest;
  seen.insert(seen.begin() + cut.dim, {cut.outer, parts});
  return whole.contiguous().view(seen).select(cut.dim + 1, part).contiguous().view(local);
}

// Random numbers for every input, by name.
std::map<std::string, at::Tensor> numbers(const Graph& graph, int64_t classes) {
  const auto generator = at::detail::createCPUGenerator(5);
  std::map<std::string, at::Tensor> values;
  for (const graph::Input& input : graph.inputs) {
    const auto& type = graph.type(input.value);
    if (input.kind == InputKind::kConstant) continue;
    values[input.name] = type.dtype == at::kLong
                             ? torch::randint(classes, type.shape, generator, torch::kLong)
                             : torch::randn(type.shape, generator).mul(0.2).to(type.dtype);
  }
  return values;
}

std::vector<at::Tensor> bind(const Graph& graph, const std::map<std::string, at::Tensor>& values) {
  std::vector<at::Tensor> inputs;
  for (const graph::Input& input : graph.inputs) {
    if (input.kind == InputKind::kConstant)
      inputs.emplace_back();
    else if (input.part == graph::kWhole)
      inputs.push_back(values.at(input.name));
    else
      inputs.push_back(
          part_of(values.at(input.name), graph.cuts.at(input.name), graph.num_parts, input.part));
  }
  return inputs;
}

std::vector<at::Tensor> run(const Graph& graph, const std::map<std::string, at::Tensor>& values,
                            run::Exchanger* exchanger = nullptr) {
  run::CompiledGraph compiled(graph, kernels::cpu());
  run::Frame frame(compiled);
  std::vector<at::Tensor> results(graph::outputs(graph).size());
  const std::vector<at::Tensor> inputs = bind(graph, values);
  const auto take = [&](int index, const at::Tensor& tensor) {
    results[static_cast<size_t>(index)] = tensor.clone();
  };
  frame.begin({.inputs = inputs});
  int64_t begin = 0;
  size_t exchanges = 0;
  run::Waits waits;
  for (int64_t n = 0; n <= std::ssize(graph.nodes); ++n) {
    const bool at_end = n == std::ssize(graph.nodes);
    if (!at_end && !run::communicates(graph.nodes[static_cast<size_t>(n)])) continue;
    frame.run({begin, n}, take);
    begin = n + 1;
    if (at_end) continue;
    const auto node = static_cast<size_t>(n);
    frame.define(node, exchanger->exchange(frame.arguments(node), exchanges++, waits));
  }
  frame.end();
  return results;
}

struct Case {
  std::string name;
  int64_t classes;
  std::function<Graph()> capture;
  std::function<Graph()> in_fp32 = nullptr;  // of what bf16 is too coarse to compare with itself
};

Graph capture_gpt(bool tied, Precision precision, double dropout) {
  const models::GptConfig config{.vocabulary = 64,
                                 .layers = 2,
                                 .width = 32,
                                 .heads = 4,
                                 .context = 8,
                                 .dropout = dropout,
                                 .tied_head = tied};
  auto model = describe([&] { return models::Gpt(config); });
  const auto training = with_loss(model, [](models::Gpt& gpt, const Batch& batch) {
    const auto logits = gpt(batch[0]);
    return torch::cross_entropy_loss(logits.view({-1, logits.size(-1)}), batch[1].view({-1}));
  });
  const std::vector<graph::TensorType> types(2, graph::contiguous_type(at::kLong, {4, config.context}));
  return capture::capture_training(kernels::cpu(), training, types, precision);
}

Graph capture_mlp() {
  auto model = describe(
      [] { return models::Mlp(models::MlpConfig{.inputs = 12, .width = 40, .layers = 3, .outputs = 8}); });
  const auto training = with_loss(model, [](models::Mlp& mlp, const Batch& batch) {
    return torch::cross_entropy_loss(mlp(batch[0]), batch[1]);
  });
  const std::vector<graph::TensorType> types = {graph::contiguous_type(at::kFloat, {8, 12}),
                                                graph::contiguous_type(at::kLong, {8})};
  return capture::capture_training(kernels::cpu(), training, types, Precision::kFP32);
}

Graph capture_llama(Precision precision) {
  const models::LlamaConfig config{
      .vocabulary = 64, .layers = 2, .width = 64, .heads = 8, .kv_heads = 4, .hidden = 96};
  auto model = describe([&] { return models::Llama(config); });
  const auto training = with_loss(model, [](models::Llama& llama, const Batch& batch) {
    const auto logits = llama(batch[0]);
    return torch::cross_entropy_loss(logits.view({-1, logits.size(-1)}), batch[1].view({-1}));
  });
  const std::vector<graph::TensorType> types(2, graph::contiguous_type(at::kLong, {4, 8}));
  return capture::capture_training(kernels::cpu(), training, types, precision);
}

Graph capture_resnet(Precision precision) {
  const models::ResnetConfig config{.stages = 2, .layers = 1, .width = 8, .outputs = 8};
  auto model = describe([&] { return models::Resnet(config); });
  const auto training = with_loss(model, [](models::Resnet& resnet, const Batch& batch) {
    return torch::cross_entropy_loss(resnet(batch[0]), batch[1]);
  });
  const std::vector<graph::TensorType> types = {graph::contiguous_type(at::kFloat, {4, 3, 8, 8}),
                                                graph::contiguous_type(at::kLong, {4})};
  return capture::capture_training(kernels::cpu(), training, types, precision);
}

template <class Model>
Graph capture_regression(const Model& model, std::vector<int64_t> x, std::vector<int64_t> y) {
  const auto training = with_loss(
      model, [](auto& net, const Batch& batch) { return torch::mse_loss(net(batch[0]), batch[1]); });
  const std::vector<graph::TensorType> types = {graph::contiguous_type(at::kFloat, std::move(x)),
                                                graph::contiguous_type(at::kFloat, std::move(y))};
  return capture::capture_training(kernels::cpu(), training, types, Precision::kFP32);
}

// The second convolution comes apart by its input channels: every part has the bias's gradient, all alike.
struct ConvolutionsImpl : torch::nn::Module {
  torch::nn::Conv2d a{register_module("a", torch::nn::Conv2d(4, 16, 3))},
      b{register_module("b", torch::nn::Conv2d(16, 4, 3))};
  torch::Tensor forward(const torch::Tensor& x) { return b(torch::relu(a(x))); }
};
TORCH_MODULE(Convolutions);

// Partial sums in fp64 that lie transposed: how a sum of them lies must not depend on who made the addends.
struct TransposedSumsImpl : torch::nn::Module {
  torch::nn::Linear a{register_module("a", torch::nn::Linear(16, 240))},
      b{register_module("b", torch::nn::Linear(15, 16))};
  torch::Tensor forward(const torch::Tensor& x) {
    const auto m = a(x).view({x.size(0), x.size(1), 16, 15}).to(torch::kDouble).sum(2).permute({2, 0, 1});
    const auto f = m.to(torch::kFloat);
    return b((f.sum(2) + f.var(2, false) + torch::softmax(f, 2).square().sum(2)).t());
  }
};
TORCH_MODULE(TransposedSums);

// Each token sees the one before it: padding by [1, -1] keeps the size and shifts.
struct TokenShiftImpl : torch::nn::Module {
  torch::nn::Linear a{register_module("a", torch::nn::Linear(16, 64))},
      b{register_module("b", torch::nn::Linear(64, 16))};
  torch::Tensor forward(const torch::Tensor& x) {
    const auto h = torch::relu(a(x));
    return b(h + torch::constant_pad_nd(h, {0, 0, 1, -1}) + torch::constant_pad_nd(h, {1, -1}));
  }
};
TORCH_MODULE(TokenShift);

// The activations lie transposed, come apart, and are read by places in memory: only a whole that lies as the
// undivided one did gives the same numbers.
struct ByMemoryImpl : torch::nn::Module {
  torch::nn::Linear a{register_module("a", torch::nn::Linear(16, 64))},
      b{register_module("b", torch::nn::Linear(64, 16))};
  torch::Tensor forward(const torch::Tensor& x) {
    return b(torch::relu(a(x).t()).as_strided({x.size(0), 64}, {64, 1}));
  }
};
TORCH_MODULE(ByMemory);

Graph capture_by_memory() {
  return capture_regression(describe([] { return ByMemory(); }), {8, 16}, {8, 16});
}

std::vector<Case> cases() {
  return {{"by memory", 4, capture_by_memory},
          {"convolutions", 4,
           [] {
             return capture_regression(describe([] { return Convolutions(); }), {3, 4, 8, 8}, {3, 4, 4, 4});
           }},
          {"transposed sums", 4,
           [] {
             return capture_regression(describe([] { return TransposedSums(); }), {4, 67, 16}, {4, 16});
           }},
          {"token shift", 4,
           [] {
             return capture_regression(describe([] { return TokenShift(); }), {3, 8, 16}, {3, 8, 16});
           }},
          {"resnet", 8, [] { return capture_resnet(Precision::kFP32); }},
          {"resnet bf16", 8, [] { return capture_resnet(Precision::kBF16); },
           [] { return capture_resnet(Precision::kFP32); }},
          {"llama", 64, [] { return capture_llama(Precision::kFP32); }},
          {"llama bf16", 64, [] { return capture_llama(Precision::kBF16); }},
          {"mlp", 8, capture_mlp},
          {"gpt", 64, [] { return capture_gpt(false, Precision::kFP32, 0); }},
          {"gpt tied", 64, [] { return capture_gpt(true, Precision::kFP32, 0); }},
          {"gpt bf16", 64, [] { return capture_gpt(true, Precision::kBF16, 0); }}};
}

Graph divided(const Graph& captured, int64_t parts, std::string* text = nullptr) {
  const Graph opened = numerics::split_biases(numerics::open_vocabulary(captured));
  graph::verify(opened, "opened");
  const numerics::CutMap map = numerics::make_cut_map(opened, parts);
  if (text != nullptr) *text = numerics::print(opened, map);
  EXPECT_GT(map.divided_share, 0.9);
  Graph result = numerics::divide(opened, map);
  graph::verify(result, "divided");
  return result;
}

// Sums in another order: some 100 roundings of the format.
double tolerance(const std::string& name) { return name.ends_with("bf16") ? 0.1 : 2e-5; }

double largest(const at::Tensor& tensor) { return tensor.to(at::kDouble).abs().max().item<double>(); }

void expect_close(const at::Tensor& got, const at::Tensor& want, double tolerance, const std::string& name) {
  const double scale = want.to(at::kDouble).abs().max().item<double>() + 1e-6;
  const double error = (got.to(at::kDouble) - want.to(at::kDouble)).abs().max().item<double>();
  EXPECT_LT(error / scale, tolerance) << name;
}

TEST(Divide, ComputesWhatTheWholeGraphDoes) {
  kernels::make_reproducible();
  torch::set_num_threads(1);
  for (const Case& c : cases()) {
    const Graph whole = c.capture();
    const auto values = numbers(whole, c.classes);
    const std::vector<at::Tensor> want = run(whole, values);
    std::map<std::string, std::vector<at::Tensor>> precise;
    if (c.in_fp32) {
      const Graph graph = c.in_fp32();
      auto same = values;
      for (auto& [name, value] : same)
        if (value.is_floating_point()) value = value.to(at::kFloat);
      const std::vector<at::Tensor> results = run(graph, same);
      size_t position = graph.results.size();
      for (const graph::Gradient& gradient : graph.gradients)
        for (size_t i = 0; i < gradient.contributions.size(); ++i)
          precise[gradient.parameter].push_back(results[position++]);
    }
    for (int64_t parts : {2, 4}) {
      std::string text;
      const Graph graph = divided(whole, parts, &text);
      SCOPED_TRACE(cat(c.name, ", ", parts, " parts\n", text));
      const std::vector<at::Tensor> got = run(graph, values);
      expect_close(got[0], want[0], c.name.ends_with("bf16") ? 0.05 : 2e-5, "loss");
      size_t next = graph.results.size();
      std::map<std::string, std::vector<at::Tensor>> reference;
      size_t position = whole.results.size();
      for (const graph::Gradient& gradient : whole.gradients)
        for (size_t i = 0; i < gradient.contributions.size(); ++i)
          reference[gradient.parameter].push_back(want[position++]);
      for (const graph::Gradient& gradient : graph.gradients)
        for (size_t i = 0; i < gradient.contributions.size(); ++i) {
          at::Tensor expected = reference.at(gradient.parameter)[i];
          if (gradient.part != graph::kWhole)
            expected = part_of(expected, graph.cuts.at(gradient.parameter), parts, gradient.part);
          const at::Tensor& value = got[next++];
          const std::string name = cat(gradient.parameter, " part ", gradient.part);
          if (!c.in_fp32) {
            expect_close(value, expected, tolerance(c.name), name);
            continue;
          }
          // Gradients of batch norms are what is left of larger numbers that cancel (the next norm undoes a
          // scale). The divided run is no further from fp32's than the whole one is, but for chance.
          at::Tensor exact = precise.at(gradient.parameter)[i];
          if (gradient.part != graph::kWhole)
            exact = part_of(exact, graph.cuts.at(gradient.parameter), parts, gradient.part);
          const double error = largest(value.to(at::kDouble) - exact.to(at::kDouble)),
                       usual = largest(expected.to(at::kDouble) - exact.to(at::kDouble));
          EXPECT_LT(error, 3 * usual + 0.02 * largest(exact)) << name;
        }
    }
  }
}

TEST(Divide, AWholeLiesInMemoryAsUndivided) {
  const std::string text = graph::print(divided(capture_by_memory(), 4));
  const size_t join = text.find("shoal::join_parts"), restride = text.find("shoal::restride");
  ASSERT_NE(restride, std::string::npos) << text;
  EXPECT_LT(join, restride);
  EXPECT_LT(restride, text.find("aten::as_strided"));
  EXPECT_NE(text.find(", [1,64]) : f32[64,8]{1,64}", restride), std::string::npos) << text;
}

// Evaluation is cut as training is, even where its own graph would lead elsewhere: fewer heads of keys and
// values than parts.
TEST(Divide, EvaluationFollowsTheCutsOfTraining) {
  const models::LlamaConfig config{
      .vocabulary = 64, .layers = 2, .width = 64, .heads = 8, .kv_heads = 2, .hidden = 96};
  auto model = describe([&] { return models::Llama(config); });
  const auto training = with_loss(model, [](models::Llama& llama, const Batch& batch) {
    const auto logits = llama(batch[0]);
    return torch::cross_entropy_loss(logits.view({-1, logits.size(-1)}), batch[1].view({-1}));
  });
  const std::vector<graph::TensorType> types(2, graph::contiguous_type(at::kLong, {4, 8}));
  const Graph trained = divided(capture::capture_training(kernels::cpu(), training, types, Precision::kFP32), 4);
  const Graph forward =
      capture::capture_forward(kernels::cpu(), *training.module, training.loss, types, Precision::kFP32);
  const Graph opened = numerics::open_vocabulary(forward);
  const Graph evaluated = numerics::divide(opened, numerics::make_cut_map(opened, 4, &trained.cuts));
  EXPECT_EQ(evaluated.cuts, trained.cuts);
  EXPECT_LT(lower::local_graph(evaluated, 4, 0).bytes_read, lower::local_graph(trained, 4, 0).bytes_read);
  const auto values = numbers(forward, 64);
  expect_close(run(evaluated, values)[0], run(forward, values)[0], 2e-5, "loss");
}

// docs/tensor_parallel.md, "Bytes".
TEST(Divide, BytesReadAreThoseOfTheClosedForm) {
  for (const int64_t layers : {1, 3})
    for (const int64_t parts : {2, 4})
      for (int64_t tp = 2; tp <= parts; tp *= 2)
        for (const bool tied : {false, true}) {
          const models::GptConfig config{.vocabulary = 1024,
                                         .layers = layers,
                                         .width = 256,
                                         .heads = 8,
                                         .context = 64,
                                         .tied_head = tied};
          auto model = describe([&] { return models::Gpt(config); });
          const auto training = with_loss(model, [](models::Gpt& gpt, const Batch& batch) {
            const auto logits = gpt(batch[0]);
            return torch::cross_entropy_loss(logits.view({-1, logits.size(-1)}), batch[1].view({-1}));
          });
          const int64_t T = config.context, D = config.width, n = 8 * T, E = 4;
          const std::vector<graph::TensorType> types(2, graph::contiguous_type(at::kLong, {8, T}));
          const Graph graph =
              divided(capture::capture_training(kernels::cpu(), training, types, Precision::kFP32), parts);
          const int64_t want = (8 * layers + 4) * n * D * E * (tp - 1) / tp +
                               (tp - 1) * (T * D * E + (6 * layers + 2) * D * E + 4 * n + 8);
          for (int rank = 0; rank < tp; ++rank) {
            const lower::LocalGraph local = lower::local_graph(graph, tp, rank);
            EXPECT_EQ(local.bytes_read, want)
                << "layers " << layers << " parts " << parts << " tp " << tp << " tied " << tied;
            EXPECT_EQ(std::ssize(local.exchanges), 8 * layers + 8);
          }
        }
}

TEST(Divide, DevicesOfAGroupComputeTheSameBits) {
  kernels::make_reproducible();
  torch::set_num_threads(1);
  int in_turns = 0;
  for (const Case& c : cases()) {
    const Graph whole = c.capture();
    const auto values = numbers(whole, c.classes);
    std::string text;
    const Graph graph = divided(whole, 4, &text);
    SCOPED_TRACE(text);
    const std::vector<at::Tensor> want = run(graph, values);
    for (int tp : {2, 4}) {
      SCOPED_TRACE(cat(c.name, " on ", tp));
      in_turns += lower::local_graph(graph, tp, 0).half_bytes > run::Exchanger::kLeastHalf;
      World::threads(tp, [&](World& world) {
        const lower::LocalGraph local = lower::local_graph(graph, tp, world.rank());
        graph::verify(local.graph, "local");
        // With room for all that is shown at a time, and, since these are small, with room for some of it.
        for (const int64_t half : {local.half_bytes, int64_t{1}}) {
          run::Exchanger exchanger(comm::Group(world.communicator()), half, world.device());
          exchanger.begin(local);
          const std::vector<at::Tensor> got = run(local.graph, values, &exchanger);
          EXPECT_TRUE(at::equal(got[0], want[0])) << "loss on rank " << world.rank();
          size_t position = graph.results.size(), mine = local.graph.results.size();
          for (const graph::Gradient& gradient : graph.gradients)
            for (size_t i = 0; i < gradient.contributions.size(); ++i, ++position) {
              if (gradient.part != graph::kWhole && gradient.part * tp / 4 != world.rank()) continue;
              EXPECT_TRUE(at::equal(got[mine], want[position]))
                  << gradient.parameter << " part " << gradient.part << " on rank " << world.rank()
                  << ": at most " << (got[mine] - want[position]).abs().max().item<double>() << " of "
                  << want[position].abs().max().item<double>();
              ++mine;
            }
          comm::Group(world.communicator()).barrier();
        }
      });
    }
  }
  EXPECT_GE(in_turns, 4);
}

}  // namespace
}  // namespace shoal
