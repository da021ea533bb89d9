#include "lower/saved_values.h"

#include <algorithm>
#include <limits>
#include <optional>
#include <set>

#include "base/blocks.h"
#include "graph/operator.h"
#include "lower/node_cost.h"

namespace shoal::lower {
namespace {

using graph::at;
using graph::Graph;
using graph::kNoNode;
using graph::kNoValue;
using graph::Node;
using graph::Phase;
using graph::ValueId;

// Forward as memory: each value that has memory of its own, who makes it and who reads it. Views are what they see.
struct Forward {
  struct Value {
    size_t maker = kNoNode;  // a node of forward
    int64_t bytes = 0;
    std::vector<size_t> forward, backward;  // readers in its stage, in order
  };
  const Graph& graph;
  const Stages& stages;
  std::vector<ValueId> memory_of;  // by value: whose memory it has
  std::vector<Value> values;       // by value; those with memory of their own
  std::vector<bool> can_repeat;    // by node
  std::vector<double> costs;       // by node

  Forward(const Graph& graph_in, const Stages& stages_in, const NodeCosts& node_costs)
      : graph(graph_in), stages(stages_in), values(graph.values.size()), can_repeat(graph.nodes.size(), false), costs(node_costs.of(graph)) {
    const std::vector<size_t> made_by = graph::makers(graph);
    for (size_t id = 0; id < graph.values.size(); ++id) memory_of.push_back(static_cast<ValueId>(id));
    for (size_t n = 0; n < graph.nodes.size(); ++n) {
      const Node& node = graph.nodes[n];
      const int stage = stages.nodes[n].stage;
      const bool is_forward = node.phase == Phase::kForward;
      bool is_of_its_part = true;
      graph::for_each_input(node, [&](ValueId id) {
        const size_t maker = made_by[at(id)];
        if (maker != kNoNode && graph.nodes[maker].part != node.part && graph.nodes[maker].part != graph::kWhole)
          is_of_its_part = false;
      });
      if (const ValueId from = graph::memory_source(node); from != kNoValue) {
        for (const ValueId id : node.results)
          if (id != kNoValue) memory_of[at(id)] = memory_of[at(from)];
        continue;
      }
      graph::for_each_input(node, [&](ValueId id) {
        Value& value = values[at(memory_of[at(id)])];
        if (value.maker == kNoNode || stages.nodes[value.maker].stage != stage) return;
        std::vector<size_t>& readers = is_forward ? value.forward : value.backward;
        if (readers.empty() || readers.back() != n) readers.push_back(n);
      });
      if (!is_forward) continue;
      can_repeat[n] = is_of_its_part;
      for (const ValueId id : node.results)
        if (id != kNoValue) values[at(id)] = {n, align_up(graph.type(id).bytes()), {}, {}};
    }
  }
  bool is_made(ValueId id) const { return values[at(id)].maker != kNoNode; }
  double seconds(size_t node) const {
    constexpr double kOfACall = 2e-6;
    return costs[node] + kOfACall;
  }
  /// Memory that the node reads, of its own stage.
  std::vector<ValueId> read_by(size_t node) const {
    std::vector<ValueId> all;
    graph::for_each_input(graph.nodes[node], [&](ValueId id) {
      const ValueId memory = memory_of[at(id)];
      if (is_made(memory) && stages.nodes[values[at(memory)].maker].stage == stages.nodes[node].stage &&
          std::ranges::find(all, memory) == all.end())
        all.push_back(memory);
    });
    return all;
  }
};

// --- kAll: blocks of one stage's forward

class Blocks {
 public:
  Blocks(const Forward& forward, int stage, bool keeps_last) : forward_(forward), keeps_last_(keeps_last) {
    std::vector<size_t> position(forward.graph.nodes.size(), 0);
    for (size_t n = 0; n < forward.graph.nodes.size(); ++n)
      if (forward.graph.nodes[n].phase == Phase::kForward && forward.stages.nodes[n].stage == stage)
        position[n] = num_nodes_++;
    for (size_t id = 0; id < forward.values.size(); ++id) {
      const Forward::Value& value = forward.values[id];
      if (value.maker == kNoNode || forward.stages.nodes[value.maker].stage != stage) continue;
      const size_t made = position[value.maker];
      values_.push_back({static_cast<ValueId>(id), value.bytes, made,
                         value.forward.empty() ? made : position[value.forward.back()], !value.backward.empty()});
    }
    std::ranges::sort(values_, {}, &Value::made);
    find_candidates();
  }

  void choose(std::vector<bool>& again) const {
    const std::vector<size_t> cuts = best_cuts();
    const size_t last = keeps_last_ ? cuts[cuts.size() - 2] : num_nodes_;
    for (const Value& value : values_) {
      const size_t end = *std::ranges::upper_bound(cuts, value.made);  // of its block
      if (value.made < last && value.last < end && forward_.can_repeat[forward_.values[at(value.id)].maker])
        again[at(value.id)] = true;
    }
  }

 private:
  struct Value {
    ValueId id;
    int64_t bytes;
    size_t made, last;  // positions in forward: where it is made, and read last
    bool is_saved;      // backward reads it
  };

  // Places where less crosses than just before, and no less just after; the two ends.
  void find_candidates() {
    std::vector<int64_t> crossing(num_nodes_ + 1, 0);
    for (const Value& value : values_) {
      crossing[value.made + 1] += value.bytes;
      if (value.last + 1 <= num_nodes_) crossing[value.last + 1] -= value.bytes;
    }
    for (size_t p = 1; p <= num_nodes_; ++p) crossing[p] += crossing[p - 1];
    candidates_.push_back(0);
    bool falls = false;
    for (size_t p = 1; p < num_nodes_; ++p) {
      if (crossing[p] < crossing[p - 1]) falls = true;
      if (falls && crossing[p + 1] > crossing[p]) candidates_.push_back(p), falls = false;
    }
    candidates_.push_back(num_nodes_);
  }

  struct Block {
    int64_t kept = 0;    // bytes that leave it
    int64_t inside = 0;  // bytes that backward reads, or what leaves is made of
  };
  Block block(size_t begin, size_t end) const {
    Block block;
    for (auto value = std::ranges::lower_bound(values_, begin, {}, &Value::made);
         value != values_.end() && value->made < end; ++value)
      (value->last >= end ? block.kept : block.inside) += value->last >= end || value->is_saved ? value->bytes : 0;
    return block;
  }

  // For some bounds on a block's inside, the blocks that keep least; of these the best.
  std::vector<size_t> best_cuts() const {
    constexpr size_t kMostCandidates = 48;  // in a block
    constexpr int64_t kNever = std::numeric_limits<int64_t>::max() / 4;
    const size_t count = candidates_.size();
    std::vector<std::vector<Block>> blocks(count);  // by end, then by how many candidates before it begins, less one
    std::set<int64_t> insides;
    for (size_t e = 1; e < count; ++e)
      for (size_t back = 1; back <= std::min(e, kMostCandidates); ++back) {
        blocks[e].push_back(block(candidates_[e - back], candidates_[e]));
        insides.insert(blocks[e].back().inside);
      }
    const std::vector<int64_t> bounds(insides.begin(), insides.end());
    constexpr size_t kMostBounds = 64;
    const size_t step = std::max<size_t>(1, bounds.size() / kMostBounds);
    int64_t least = kNever;
    std::vector<size_t> best;
    for (size_t from_last = 0; from_last < bounds.size(); from_last += step) {  // the largest always works
      const size_t b = bounds.size() - 1 - from_last;
      std::vector<int64_t> kept(count, kNever);
      std::vector<size_t> from(count, 0);
      kept[0] = 0;
      for (size_t e = 1; e < count; ++e)
        for (size_t back = 1; back <= blocks[e].size(); ++back) {
          const Block& block = blocks[e][back - 1];
          if (block.inside > bounds[b]) continue;
          if (const int64_t value = kept[e - back] + block.kept; value < kept[e]) kept[e] = value, from[e] = e - back;
        }
      if (kept.back() >= kNever || kept.back() + bounds[b] >= least) continue;
      least = kept.back() + bounds[b];
      best.clear();
      for (size_t e = count - 1; e > 0; e = from[e]) best.push_back(candidates_[e]);
      best.push_back(0);
    }
    std::ranges::reverse(best);
    return best;
  }

  const Forward& forward_;
  const bool keeps_last_;
  size_t num_nodes_ = 0;
  std::vector<Value> values_;       // in the order in which they are made
  std::vector<size_t> candidates_;  // positions
};

// --- kSelective: node by node, what saves most bytes for its time

class Selection {
 public:
  explicit Selection(const Forward& forward)
      : forward_(forward), repeats_(forward.graph.nodes.size(), false), repeating_(forward.values.size(), 0) {
    for (size_t n = 0; n < forward.graph.nodes.size(); ++n) budget_ += forward.costs[n];
    budget_ *= kPartOfTheStep;
  }

  void choose(std::vector<bool>& again) {
    for (bool goes_on = true; goes_on;) {
      goes_on = false;
      std::vector<std::pair<double, size_t>> order;
      for (size_t n = 0; n < repeats_.size(); ++n)
        if (const auto gain = gain_of(n)) order.emplace_back(gain->rate(), n);
      std::ranges::stable_sort(order, std::ranges::greater(), &std::pair<double, size_t>::first);
      for (const auto& [rate, n] : order) {
        constexpr double kNearly = 0.8;  // others were taken since, which may have made it worse
        const auto gain = gain_of(n);
        if (!gain || gain->rate() < kNearly * rate || gain->seconds > budget_) continue;
        budget_ -= gain->seconds;
        for (const size_t node : gain->nodes) take(node);
        goes_on = true;
      }
    }
    for (size_t n = 0; n < repeats_.size(); ++n)
      if (repeats_[n])
        for (const ValueId id : forward_.graph.nodes[n].results)
          if (id != kNoValue) again[at(id)] = true;
  }

 private:
  static constexpr double kPartOfTheStep = 0.08;

  struct Gain {
    std::vector<size_t> nodes;
    int64_t bytes = 0;
    double seconds = 0;
    double rate() const { return static_cast<double>(bytes) / seconds; }
  };

  bool is_needed(ValueId id) const { return !forward_.values[at(id)].backward.empty() || repeating_[at(id)] > 0; }
  bool is_kept(ValueId id) const { return is_needed(id) && !repeats_[forward_.values[at(id)].maker]; }

  // The node alone or, where that saves nothing since what it reads would have to be kept, with what makes that.
  std::optional<Gain> gain_of(size_t n) const {
    if (!forward_.can_repeat[n] || repeats_[n]) return std::nullopt;
    constexpr int kDeepest = 3;
    Gain gain{.nodes = {n}};
    std::set<size_t> nodes = {n};
    for (int depth = 0; depth < kDeepest; ++depth) {
      std::set<ValueId> freed, pinned;
      gain.seconds = 0;
      for (const size_t node : gain.nodes) {
        gain.seconds += forward_.seconds(node);
        for (const ValueId id : forward_.graph.nodes[node].results)
          if (id != kNoValue && forward_.is_made(id) && is_kept(id)) freed.insert(id);
        for (const ValueId id : forward_.read_by(node))
          if (const size_t maker = forward_.values[at(id)].maker; !is_needed(id) && !repeats_[maker] && !nodes.contains(maker))
            pinned.insert(id);
      }
      gain.bytes = 0;
      for (const ValueId id : freed) gain.bytes += forward_.values[at(id)].bytes;
      for (const ValueId id : pinned) gain.bytes -= forward_.values[at(id)].bytes;
      if (gain.bytes > 0) return gain;
      if (freed.empty() || pinned.empty()) return std::nullopt;
      for (const ValueId id : pinned) {
        const size_t maker = forward_.values[at(id)].maker;
        if (!forward_.can_repeat[maker]) return std::nullopt;
        if (nodes.insert(maker).second) gain.nodes.push_back(maker);
      }
    }
    return std::nullopt;
  }
  void take(size_t n) {
    repeats_[n] = true;
    for (const ValueId id : forward_.read_by(n)) ++repeating_[at(id)];
  }

  const Forward& forward_;
  double budget_ = 0;            // seconds left
  std::vector<bool> repeats_;    // by node
  std::vector<int> repeating_;   // by value: nodes that read it again
};

}  // namespace

std::vector<bool> choose_recomputed(const Graph& graph, const Stages& stages, Recompute mode, const NodeCosts& costs) {
  const Forward forward(graph, stages, costs);
  std::vector<bool> again(graph.values.size(), false);
  if (mode == Recompute::kAll)
    for (int stage = 0; stage < stages.count; ++stage)
      Blocks(forward, stage, /*keeps_last=*/stage == stages.count - 1).choose(again);
  else if (mode == Recompute::kSelective)
    Selection(forward).choose(again);
  const std::vector<size_t> made_by = graph::makers(graph);
  // In its own stage a view is made again of what is made again; in another it is kept. And what is computed again of what
  // is computed again ... is all there at once: of a long chain (a sequence, step by step) some links are kept.
  constexpr int kLongest = 100;
  std::vector<int> depth(graph.values.size(), 0);
  for (size_t n = 0; n < graph.nodes.size(); ++n) {
    const Node& node = graph.nodes[n];
    if (node.phase != Phase::kForward) continue;
    const ValueId from = graph::memory_source(node);
    const bool is_again =
        from != kNoValue && again[at(from)] && stages.nodes[made_by[at(from)]].stage == stages.nodes[n].stage;
    int deepest = 0;
    graph::for_each_input(node, [&](ValueId id) { deepest = std::max(deepest, depth[at(id)]); });
    for (const ValueId id : node.results) {
      if (id == kNoValue) continue;
      if (from != kNoValue) again[at(id)] = is_again;
      else if (deepest >= kLongest) again[at(id)] = false;
      if (again[at(id)]) depth[at(id)] = deepest + 1;
    }
  }
  return again;
}

}  // namespace shoal::lower
