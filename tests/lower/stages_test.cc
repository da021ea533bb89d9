// Where models are cut: balanced, in any model, backward with its forward.
#include "lower/stages.h"

#include <gtest/gtest.h>
#include <torch/torch.h>

#include <algorithm>
#include <map>
#include <set>

#include "capture/capture.h"
#include "kernels/cpu/cpu_device.h"
#include "lower/lower.h"
#include "lower/stage_graph.h"
#include "models/gpt.h"
#include "session/batch.h"
#include "shoal/shoal.h"
#include "support/eager_loop.h"
#include "support/expect_error.h"
#include "support/unet.h"

namespace shoal::lower {
namespace {

using Work = Stages::Work;

graph::Graph graph_of(const TrainingModel& model, const Batch& batch) {
  return capture::capture_training(kernels::cpu(), model, session::shapes_of(batch), Precision::kFP32,
                                   capture::Form::kWhole);
}

graph::Graph gpt(int64_t layers, bool tied) {
  const models::GptConfig config{.vocabulary = 64, .layers = layers, .width = 32, .heads = 2, .context = 16, .tied_head = tied};
  const auto loss = [](models::Gpt& model, const Batch& batch) {
    const torch::Tensor logits = model(batch[0]);
    return torch::cross_entropy_loss(logits.view({-1, logits.size(-1)}), batch[1].view({-1}));
  };
  return graph_of(with_loss(models::Gpt(config), loss), test::random_tokens(0, 0, 2, 16, 64));
}

graph::Graph unet() {
  const auto loss = [](test::Unet& net, const Batch& batch) {
    return torch::cross_entropy_loss(net(batch[0]), batch[1]);
  };
  return graph_of(with_loss(test::Unet(), loss),
                  {torch::zeros({2, 3, 8, 8}), torch::zeros({2, 8, 8}, torch::kLong)});
}

// Every node has a stage; forward reads earlier stages only, backward later ones of backward, and the weight
// gradients of a stage are read by nobody but weight gradients of the stage.
void expect_flows(const graph::Graph& graph, const Stages& stages) {
  std::map<graph::ValueId, size_t> made_by;
  for (size_t n = 0; n < graph.nodes.size(); ++n) {
    const Stages::Place& place = stages.nodes[n];
    ASSERT_TRUE(place.stage >= 0 && place.stage < stages.count) << n;
    EXPECT_EQ(graph.nodes[n].phase == graph::Phase::kForward, place.work == Work::kForward) << n;
    graph::for_each_input(graph.nodes[n], [&](graph::ValueId id) {
      const auto maker = made_by.find(id);
      if (maker == made_by.end()) return;
      const Stages::Place& from = stages.nodes[maker->second];
      if (place.work == Work::kForward) {
        EXPECT_LE(from.stage, place.stage) << n;
      }
      if (place.work != Work::kForward && from.work != Work::kForward) {
        EXPECT_GE(from.stage, place.stage) << n;
      }
      if (from.work == Work::kWeightGradient) {
        EXPECT_TRUE(place.work == Work::kWeightGradient && place.stage == from.stage) << n;
      }
    });
    for (const graph::ValueId id : graph.nodes[n].results) made_by[id] = n;
  }
}

// Saved values of forward that backward reads are of its own stage, or came to it in forward.
TEST(StagesTest, BackwardReadsWhatItsStageHas) {
  const graph::Graph graph = gpt(4, false);
  const Stages stages = assign_stages(graph, balanced_cut(graph, 4));
  expect_flows(graph, stages);
  std::map<graph::ValueId, std::set<int>> seen;  // by value of forward: stages that have it after forward
  for (size_t n = 0; n < graph.nodes.size(); ++n) {
    const int stage = stages.nodes[n].stage;
    if (graph.nodes[n].phase == graph::Phase::kForward) {
      for (const graph::ValueId id : graph.nodes[n].results) seen[id].insert(stage);
      graph::for_each_input(graph.nodes[n], [&](graph::ValueId id) { seen[id].insert(stage); });
    } else {
      graph::for_each_input(graph.nodes[n], [&](graph::ValueId id) {
        if (const auto found = seen.find(id); found != seen.end()) {
          EXPECT_TRUE(found->second.contains(stage)) << graph.nodes[n].op << " of stage " << stage << " reads %" << id;
        }
      });
    }
  }
}

TEST(StagesTest, LayersAreCutEvenly) {
  const graph::Graph graph = gpt(8, false);
  const StageCut cut = balanced_cut(graph, 4);
  ASSERT_EQ(cut.size(), 3u);
  // Two layers each, give or take what the head costs; between layers, where least goes over the edge.
  for (const std::string& name : cut) EXPECT_NE(name.find("blocks."), std::string::npos) << name;
  EXPECT_TRUE(std::ranges::is_sorted(cut));
  EXPECT_ERROR(balanced_cut(graph, 200), InputError,
               "layout - pp: got 200 stages, want at most 84: the model is cut where it begins to use a parameter");
  EXPECT_ERROR(assign_stages(graph, {cut[1], cut[0]}), InputError,
               "pipeline - stages: the model reads " + cut[0] + " before " + cut[1] +
                   ", want the order of the stages; name them in the order in which forward uses them");
}

TEST(StagesTest, SkipsAndTiedWeightsCrossStages) {
  const graph::Graph net = unet();
  const Storage of_net = plan_storage(net);
  const StagedGraph staged =
      stage_training(net, own(net, of_net, {.pp = 3}, {"middle.conv.weight", "up2.norm.weight"}));
  expect_flows(net, staged.stages);
  const LocalGraph last = stage_graph(local_graph(net, 1, 0), staged.stages, staged.blocks, staged.orders, 2);
  std::set<int> senders;
  for (const Transfer& transfer : last.transfers)
    if (!transfer.sends) senders.insert(transfer.peer);
  EXPECT_EQ(senders, (std::set<int>{0, 1})) << "a skip goes from the first stage to the last";

  const graph::Graph tied = gpt(2, true);
  const Storage storage = plan_storage(tied);
  const Ownership ownership = own(tied, storage, {.pp = 2});
  const auto words = storage.units_of("tokens.weight");
  ASSERT_EQ(words.size(), 1u) << print(storage);
  EXPECT_TRUE(ownership.holds(0, words[0]) && ownership.holds(1, words[0]));
  EXPECT_ERROR(own(tied, storage, {.dp = 2}, {"blocks.1.norm1.weight"}), InputError,
               "pipeline - stages: got blocks.1.norm1.weight without pp, want pp=2 or more with it");
  EXPECT_ERROR(own(tied, storage, {.dp = 2}, {}, parse_grid("0F0 0B0")), InputError,
               "pipeline - schedule: got a grid without pp, want pp=2 or more with it");
  // Device 0 sends all its forwards before device 1 lets the first one go: there are places for them.
  const Grid ahead = parse_grid(
      "0F0 0F1 0F2 0F3 2F0 2B0 0B0 2F1 2B1 0B1 2F2 2B2 0B2 2F3 2B3 0B3; 1F0 3F0 3B0 1B0 1F1 3F1 3B1 1B1 1F2 3F2 3B2 1B2 1F3 3F3 3B3 1B3");
  const Layout interleaved{.pp = 2, .schedule = Schedule::kInterleaved1F1B, .stages_per_device = 2};
  const Program sender = lower_training(tied, own(tied, storage, interleaved, {}, ahead), 4, 0).programs.at(0);
  EXPECT_GE(std::ranges::max(sender.transfers, {}, &TransferOperands::slots).slots, 4);
  EXPECT_ERROR(own(tied, storage, {.pp = 2}, {}, parse_grid("0F0 0B0")), InputError,
               "pipeline - schedule: got 1 lines, want 2, one for each device");
  EXPECT_ERROR(own(tied, storage, {.dp = 2, .zero = 2, .pp = 2}), InputError,
               "layout - zero: got zero=2 with tokens.weight, which more than one stage uses; zero=2 and zero=3 sum "
               "gradients within a stage, so use zero=1, or fewer stages");
}

}  // namespace
}  // namespace shoal::lower
