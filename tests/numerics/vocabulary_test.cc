// The operators on a range of classes: whole, they are LibTorch's; divided in any way that their rows allow,
// what they are whole.
#include <gtest/gtest.h>
#include <torch/torch.h>

#include "base/text.h"
#include "kernels/cpu/cpu_device.h"
#include "numerics/cut_map.h"
#include "numerics/divide.h"
#include "run/frame.h"
#include "shoal/error.h"
#include "support/expect_error.h"

namespace shoal {
namespace {

using graph::Graph;

// One node; its float inputs are %0, %1..., in order.
struct Sample {
  const char* name;
  const char* text;
};
constexpr Sample kSamples[] = {
    {"row_lse", R"(%0 = batch "x" : f32[12,8]
%1 = shoal::row_lse(%0) : f32[12] @forward
result %1
)"},
    {"cross_entropy_sums", R"(%0 = batch "x" : f32[12,8]
%1 = batch "lse" : f32[12]
%2 = batch "target" : i64[12]
%3 = shoal::cross_entropy_sums(%0, %1, %2, -100, 8, 0) : f32[2] @forward
result %3
)"},
    {"cross_entropy_backward", R"(%0 = batch "grad" : f32[]
%1 = batch "x" : f32[12,8]
%2 = batch "lse" : f32[12]
%3 = batch "target" : i64[12]
%4 = batch "weight" : f32[]
%5 = shoal::cross_entropy_backward(%0, %1, %2, %3, %4, 1, -100, 0) : f32[12,8] @forward
result %5
)"},
    {"embedding_rows", R"(%0 = batch "table" : f32[8,12]
%1 = batch "ids" : i64[4,8]
%2 = shoal::embedding_rows(%0, %1, 8, 0) : f32[4,8,12] @forward
result %2
)"},
    {"embedding_rows_backward", R"(%0 = batch "grad" : f32[4,8,12]
%1 = batch "ids" : i64[4,8]
%2 = shoal::embedding_rows_backward(%0, %1, 8, 3, 0) : f32[8,12] @forward
result %2
)"},
};

std::vector<torch::Tensor> inputs_of(const Graph& graph) {
  const auto generator = at::detail::createCPUGenerator(3);
  std::vector<torch::Tensor> inputs;
  for (const graph::Input& input : graph.inputs) {
    const auto& type = graph.type(input.value);
    inputs.push_back(type.dtype == at::kLong ? torch::randint(8, type.shape, generator, torch::kLong)
                                             : torch::randn(type.shape, generator));
    if (input.name == "target") inputs.back()[5] = -100;
    if (input.name == "weight") inputs.back().fill_(11);
  }
  return inputs;
}

torch::Tensor run(const Graph& graph, const std::vector<torch::Tensor>& inputs) {
  run::CompiledGraph compiled(graph, kernels::cpu());
  torch::Tensor result;
  run::Frame(compiled).run_all({.inputs = inputs}, [&](int, const torch::Tensor& value) { result = value.clone(); });
  return result;
}

TEST(Vocabulary, DividedIsWhole) {
  int divided = 0;
  for (const Sample& sample : kSamples) {
    const Graph graph = graph::parse(sample.text);
    const auto inputs = inputs_of(graph);
    const torch::Tensor want = run(graph, inputs);
    for (const int64_t parts : {2, 4}) {
      std::vector<ops::Division> all = ops::divisions(graph, graph.nodes[0], parts);
      EXPECT_GE(all.size(), 2u) << sample.name;  // rows and classes, at least
      for (const ops::Division& division : all) {
        numerics::CutMap map{parts, std::vector<std::optional<graph::Cut>>(graph.values.size()), {division}, 1};
        const Graph parted = numerics::divide(graph, map);
        graph::verify(parted, "divided");
        const torch::Tensor got = run(parted, inputs);
        // Sums of a few numbers in another order.
        EXPECT_TRUE(torch::allclose(got, want, 1e-5, 1e-5))
            << sample.name << " by " << division.factor << " in " << parts;
        ++divided;
      }
    }
  }
  EXPECT_GE(divided, 24);
}

TEST(Vocabulary, WhatIsNoClassIsRefused) {
  const Graph sums = graph::parse(kSamples[1].text), rows = graph::parse(kSamples[3].text);
  auto inputs = inputs_of(sums);
  inputs[2][3] = 8;
  EXPECT_ERROR(run(sums, inputs), JobError,
               "operator shoal::cross_entropy_sums - failed: target: got 8, want 0 to 7");
  inputs = inputs_of(rows);
  inputs[1][0][0] = -1;
  EXPECT_ERROR(run(rows, inputs), JobError,
               "operator shoal::embedding_rows - failed: index: got -1, want 0 to 7");
}

TEST(Vocabulary, WholeIsLibTorchs) {
  const auto generator = at::detail::createCPUGenerator(4);
  const auto x = torch::randn({12, 8}, generator).requires_grad_();
  auto target = torch::randint(8, {12}, generator, torch::kLong);
  target[5] = -100;
  const auto want = torch::cross_entropy_loss(x, target);
  want.backward();
  const auto lse = run(graph::parse(kSamples[0].text), {x.detach()});
  const auto sums = run(graph::parse(kSamples[1].text), {x.detach(), lse, target});
  EXPECT_FLOAT_EQ(sums[0].item<float>() / sums[1].item<float>(), want.item<float>());
  EXPECT_EQ(sums[1].item<float>(), 11);
  const auto gradient =
      run(graph::parse(kSamples[2].text), {torch::ones({}), x.detach(), lse, target, sums[1].clone()});
  EXPECT_TRUE(torch::allclose(gradient, x.grad(), 1e-5, 1e-6));

  const auto table = torch::randn({8, 12}, generator);
  const auto ids = torch::randint(8, {4, 8}, generator, torch::kLong);
  EXPECT_TRUE(torch::equal(run(graph::parse(kSamples[3].text), {table, ids}), torch::embedding(table, ids)));
  const auto grad = torch::randn({4, 8, 12}, generator);
  EXPECT_TRUE(torch::allclose(run(graph::parse(kSamples[4].text), {grad, ids}),
                              torch::embedding_dense_backward(grad, ids, 8, 3, false), 1e-5, 1e-6));
}

}  // namespace
}  // namespace shoal
