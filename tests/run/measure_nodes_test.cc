// Costs of nodes by the clock: each kind once, and used for graphs of those kinds alone.
#include "run/measure_nodes.h"

#include <gtest/gtest.h>
#include <torch/torch.h>

#include <set>

#include "capture/capture.h"
#include "kernels/cpu/cpu_device.h"
#include "lower/stages.h"
#include "models/gpt.h"
#include "ops/divide.h"
#include "session/batch.h"
#include "shoal/shoal.h"
#include "support/eager_loop.h"

namespace shoal::run {
namespace {

graph::Graph gpt(int64_t layers, double dropout) {
  const models::GptConfig config{
      .vocabulary = 64, .layers = layers, .width = 32, .heads = 2, .context = 16, .dropout = dropout};
  const auto loss = [](models::Gpt& model, const Batch& batch) {
    const torch::Tensor logits = model(batch[0]);
    return torch::cross_entropy_loss(logits.view({-1, logits.size(-1)}), batch[1].view({-1}));
  };
  const Batch batch = test::random_tokens(0, 0, 2, 16, 64);
  return capture::capture_training(kernels::cpu(), with_loss(models::Gpt(config), loss), session::shapes_of(batch),
                                   Precision::kFP32, capture::Form::kWhole);
}

TEST(MeasureNodes, LayersAlikeAreOfTheSameKinds) {
  EXPECT_EQ(lower::kinds_of_nodes(gpt(3, 0)).size(), lower::kinds_of_nodes(gpt(6, 0)).size());
}

// Random operators, indices and views with strides among them: every kind runs alone.
TEST(MeasureNodes, EveryKindOfAGptRuns) {
  for (const lower::KindOfNode& kind : lower::kinds_of_nodes(gpt(2, 0.1)))
    EXPECT_GT(measured_seconds(kind, kernels::cpu()), 0) << kind.text;
}

TEST(MeasureNodes, WhatCannotRunOnSuchNumbersCostsNothing) {
  graph::Graph graph;
  const graph::ValueId square = graph.add_value(graph::contiguous_type(at::kFloat, {4, 4}));
  graph.inputs = {{graph::InputKind::kBatch, "0", square}};
  const graph::ValueId inverse = graph.add_value(graph::contiguous_type(at::kFloat, {4, 4}));
  graph.nodes = {{.op = "aten::linalg_cholesky", .arguments = {graph::Tensor{square}, false}, .results = {inverse}}};
  graph.results = {inverse};
  EXPECT_EQ(measured_seconds({"", graph}, kernels::cpu()), 0);  // all halves: not positive definite
}

TEST(MeasureNodes, CostsOfAGraphAreMeasuredOrByTheRulesNeverBoth) {
  const graph::Graph known = gpt(2, 0), more = gpt(3, 0), other = gpt(2, 0.1);
  std::map<std::string, double> seconds;
  for (const lower::KindOfNode& kind : lower::kinds_of_nodes(known)) seconds[kind.text] = 42;
  const lower::NodeCosts costs(seconds), rules;
  for (const graph::Graph* graph : {&known, &more}) {
    const std::vector<double> of = costs.of(*graph);
    for (size_t n = 0; n < of.size(); ++n)
      EXPECT_EQ(of[n], ops::costs_nothing(*graph, graph->nodes[n]) ? 0 : 42) << n;
  }
  EXPECT_EQ(costs.of(other), rules.of(other));
  EXPECT_NE(costs.of(known), rules.of(known));
}

// What is slow by the clock is cut off, whatever the rules say.
TEST(MeasureNodes, StagesAreBalancedByTheClock) {
  const graph::Graph graph = gpt(8, 0);
  std::map<std::string, double> seconds;
  for (const lower::KindOfNode& kind : lower::kinds_of_nodes(graph))
    seconds[kind.text] = kind.text.find("embedding") != std::string::npos ? 1 : 1e-9;
  const lower::StageCut by_clock = lower::balanced_cut(graph, 2, lower::NodeCosts(seconds));
  EXPECT_NE(by_clock, lower::balanced_cut(graph, 2));
  EXPECT_EQ(by_clock[0], "tokens.weight");  // between the two embeddings, of which positions come first
}

}  // namespace
}  // namespace shoal::run
