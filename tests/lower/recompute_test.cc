// What backward computes again: less is kept, nothing crosses a stage for it, and what draws random numbers draws the
// same ones. That the bits are the same, tests/equivalence shows.
#include "lower/recompute.h"

#include <gtest/gtest.h>
#include <torch/torch.h>

#include <map>
#include <set>

#include "capture/capture.h"
#include "kernels/cpu/cpu_device.h"
#include "lower/lower.h"
#include "lower/memory.h"
#include "lower/saved_values.h"
#include "models/gpt.h"
#include "session/batch.h"
#include "shoal/shoal.h"
#include "support/eager_loop.h"
#include "support/programs.h"
#include "support/unet.h"

namespace shoal::lower {
namespace {

graph::Graph gpt(double dropout) {
  const models::GptConfig config{
      .vocabulary = 4096, .layers = 8, .width = 512, .heads = 8, .context = 256, .dropout = dropout};
  const auto loss = [](models::Gpt& model, const Batch& batch) {
    const torch::Tensor logits = model(batch[0]);
    return torch::cross_entropy_loss(logits.view({-1, logits.size(-1)}), batch[1].view({-1}));
  };
  const Batch batch = {torch::zeros({8, 256}, torch::kLong), torch::zeros({8, 256}, torch::kLong)};
  // Described, so that nothing is drawn: the graph alone is looked at.
  return capture::capture_training(kernels::cpu(), with_loss(describe([config] { return models::Gpt(config); }), loss),
                                   session::shapes_of(batch), Precision::kFP32, capture::Form::kWhole);
}

int64_t activations(const graph::Graph& graph, const Layout& layout) {
  const Storage storage = plan_storage(graph);
  const Lowered lowered = lower_training(graph, own(graph, storage, layout), 8, 0);
  return memory_of(lowered.programs.at(0)).activations;
}

double share_computed_again(const graph::Graph& graph, Recompute mode) {
  const Stages stages = assign_stages(graph, {});
  graph::Graph more = graph;
  Stages places = stages;
  recompute(more, places, mode);
  const auto seconds = [](const graph::Graph& g) {
    const StageCost cost = stage_costs(g, assign_stages(g, {})).at(0);
    return cost.forward + cost.backward + cost.weight_gradient;
  };
  return seconds(more) / seconds(graph) - 1;
}

TEST(RecomputeTest, KeepsAFractionForAFractionOfTheStep) {
  const graph::Graph graph = gpt(0);
  const auto kept = [&](Recompute mode) { return static_cast<double>(activations(graph, {.recompute = mode})); };
  const double none = kept(Recompute::kNone), selective = kept(Recompute::kSelective), all = kept(Recompute::kAll);
  std::printf("activations of an 8-layer GPT, MiB: none %.0f, selective %.0f (1/%.2f), all %.0f (1/%.2f); "
              "computed again, of the step by the rules: selective %.1f %%, all %.1f %%\n",
              none / (1 << 20), selective / (1 << 20), none / selective, all / (1 << 20), none / all,
              100 * share_computed_again(graph, Recompute::kSelective), 100 * share_computed_again(graph, Recompute::kAll));
  EXPECT_LT(4 * all, none);
  EXPECT_LT(1.5 * selective, none);
}

// What is measured to cost much is kept, however small the rules say that it is.
TEST(RecomputeTest, ChoosesByWhatWasMeasured) {
  const graph::Graph graph = gpt(0);
  const Stages stages = assign_stages(graph, {});
  const auto again = [&](const char* op, const NodeCosts& costs) {
    const std::vector<bool> values = choose_recomputed(graph, stages, Recompute::kSelective, costs);
    int64_t found = 0;
    for (const graph::Node& node : graph.nodes)
      for (const graph::ValueId id : node.results)
        found += node.op.starts_with(op) && id != graph::kNoValue && values.at(static_cast<size_t>(id));
    return found;
  };
  std::map<std::string, double> measured;
  for (const KindOfNode& kind : kinds_of_nodes(graph))
    measured[kind.text] = kind.alone.nodes.at(0).op == "aten::gelu" ? 1.0 : 1e-3;
  const NodeCosts dear_gelu(std::move(measured));
  EXPECT_GT(again("aten::gelu", {}), 0);
  EXPECT_EQ(again("aten::gelu", dear_gelu), 0);
  EXPECT_GT(again("aten::native_layer_norm", dear_gelu), 0);
}

// Every node that computes again is a node of forward, in its stage, with its random numbers.
void expect_repeats(const graph::Graph& graph, const StageCut& cut, Recompute mode) {
  Stages stages = assign_stages(graph, cut);
  const Stages before = stages;
  graph::Graph more = graph;
  recompute(more, stages, mode);
  ASSERT_EQ(more.nodes.size(), stages.nodes.size());
  const std::vector<size_t> made_by = graph::makers(more);
  int again = 0;
  for (size_t n = 0; n < more.nodes.size(); ++n) {
    const graph::Node& node = more.nodes[n];
    graph::for_each_input(node, [&](graph::ValueId id) {
      if (made_by[static_cast<size_t>(id)] == graph::kNoNode) return;
      EXPECT_LT(made_by[static_cast<size_t>(id)], n);
      const Stages::Place& from = stages.nodes[made_by[static_cast<size_t>(id)]];
      if (from.work == Stages::Work::kWeightGradient) {
        EXPECT_EQ(stages.nodes[n].work, Stages::Work::kWeightGradient);
      }
    });
    for (const graph::ValueId id : node.results)
      if (id >= static_cast<graph::ValueId>(graph.values.size())) {
        ++again;
        EXPECT_EQ(node.phase, graph::Phase::kBackward);
        break;
      }
  }
  EXPECT_GT(again, 0);
  // The streams of random numbers are those of forward, some of them twice.
  std::set<int> drawn;
  for (const graph::Node& node : more.nodes)
    if (node.random >= 0) drawn.insert(node.random);
  for (const graph::Node& node : graph.nodes)
    if (node.random >= 0) {
      EXPECT_TRUE(drawn.contains(node.random));
    }
  // A stage reads of another no more than before.
  const auto crossing = [](const graph::Graph& g, const Stages& places) {
    const std::vector<size_t> makers = graph::makers(g);
    std::set<std::pair<graph::ValueId, int>> all;
    for (size_t n = 0; n < g.nodes.size(); ++n)
      graph::for_each_input(g.nodes[n], [&](graph::ValueId id) {
        const size_t maker = makers[static_cast<size_t>(id)];
        if (maker != graph::kNoNode && places.nodes[maker].stage != places.nodes[n].stage) all.insert({id, places.nodes[n].stage});
      });
    return all;
  };
  EXPECT_EQ(crossing(more, stages), crossing(graph, before));
}

TEST(RecomputeTest, RepeatsNodesOfForwardInTheirStage) {
  const graph::Graph with_dropout = gpt(0.1);
  const auto loss = [](test::Unet& net, const Batch& batch) { return torch::cross_entropy_loss(net(batch[0]), batch[1]); };
  const Batch image = {torch::zeros({2, 3, 8, 8}), torch::zeros({2, 8, 8}, torch::kLong)};
  const graph::Graph unet = capture::capture_training(kernels::cpu(), with_loss(test::Unet(), loss),
                                                      session::shapes_of(image), Precision::kFP32, capture::Form::kWhole);
  for (const Recompute mode : {Recompute::kSelective, Recompute::kAll}) {
    expect_repeats(with_dropout, {}, mode);
    expect_repeats(with_dropout, balanced_cut(with_dropout, 4), mode);
    expect_repeats(unet, balanced_cut(unet, 3), mode);
  }
}

// Small models in every kind of layout, run: the bits of a device that keeps everything.
TEST(RecomputeTest, ChangesNoBit) {
  for (const int64_t chunks : {1, 2}) {
    for (const bool words : {false, true}) {
      const test::ProgramModel model = test::program_model(words, chunks);
      const test::Ran want = test::run_programs(model, test::programs_of(model, {}, 3));
      int run = 0;
      for (Layout layout : chunks == 1 ? test::layouts_of_every_kind() : test::divided_layouts())
        for (const Recompute mode : {Recompute::kSelective, Recompute::kAll}) {
          if (!words && layout.pp > 1 && mesh::shards_gradients(layout)) continue;  // a weight that stages share
          if (layout.dp > 3) continue;
          layout.recompute = mode;
          const std::string different = test::first_difference(test::run_programs(model, test::programs_of(model, layout, 3)), want);
          EXPECT_EQ(different, "") << print(layout);
          ++run;
        }
      EXPECT_GT(run, 10);
    }
  }
}

}  // namespace
}  // namespace shoal::lower
