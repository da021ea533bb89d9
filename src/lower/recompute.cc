#include "lower/recompute.h"

#include <utility>

#include "lower/saved_values.h"

namespace shoal::lower {
namespace {

using graph::at;
using graph::Graph;
using graph::kNoValue;
using graph::Node;
using graph::Phase;
using graph::ValueId;
using Work = Stages::Work;

class Pass {
 public:
  Pass(Graph& graph, Stages& stages, std::vector<bool> again)
      : graph_(graph),
        stages_(stages),
        again_(std::move(again)),
        made_by_(graph::makers(graph)),
        before_(std::exchange(graph.nodes, {})),
        places_(std::exchange(stages.nodes, {})),
        copies_(graph.values.size(), kNoValue),
        is_awaited_(before_.size(), false) {}

  void run() {
    for (size_t n = 0; n < before_.size(); ++n)
      if (places_[n].work == Work::kBackward && before_[n].phase == Phase::kBackward) mark_awaited(n, n);
    for (size_t n = 0; n < before_.size(); ++n) {
      Node node = before_[n];
      if (node.phase == Phase::kBackward) replace_inputs(node, places_[n].stage);
      add(std::move(node), places_[n]);
    }
  }

 private:
  bool is_computed_again(ValueId id, int stage) const {
    return again_[at(id)] && places_[made_by_[at(id)]].stage == stage;
  }

  // What gradients of inputs need is not left to the pass of weight gradients.
  void mark_awaited(size_t n, size_t reader) {
    graph::for_each_input(before_[n], [&](ValueId id) {
      if (!is_computed_again(id, places_[reader].stage) || is_awaited_[made_by_[at(id)]]) return;
      is_awaited_[made_by_[at(id)]] = true;
      mark_awaited(made_by_[at(id)], reader);
    });
  }
  void replace_inputs(Node& node, int stage) {
    graph::for_each_input(node, [&](ValueId& id) {
      if (is_computed_again(id, stage)) id = copy_of(id);
    });
  }
  ValueId copy_of(ValueId id) {
    if (copies_[at(id)] != kNoValue) return copies_[at(id)];
    const size_t n = made_by_[at(id)];
    Node node = before_[n];
    replace_inputs(node, places_[n].stage);
    node.phase = Phase::kBackward;
    for (ValueId& result : node.results)
      if (result != kNoValue) {
        const ValueId copy = graph_.add_value(graph_.type(result));
        result = copies_[at(result)] = copy;
      }
    add(std::move(node), {places_[n].stage, is_awaited_[n] ? Work::kBackward : Work::kWeightGradient});
    return copies_[at(id)];
  }
  void add(Node node, Stages::Place place) {
    graph_.nodes.push_back(std::move(node));
    stages_.nodes.push_back(place);
  }

  Graph& graph_;
  Stages& stages_;
  const std::vector<bool> again_;  // by value
  const std::vector<size_t> made_by_;
  const std::vector<Node> before_;
  const std::vector<Stages::Place> places_;
  std::vector<ValueId> copies_;    // by value
  std::vector<bool> is_awaited_;   // by node: backward of inputs reads what it computes again
};

}  // namespace

void recompute(Graph& graph, Stages& stages, Recompute mode, const NodeCosts& costs) {
  if (mode == Recompute::kNone) return;
  std::vector<bool> again = choose_recomputed(graph, stages, mode, costs);
  Pass(graph, stages, std::move(again)).run();
}

}  // namespace shoal::lower
