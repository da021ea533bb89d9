#include "lower/stages.h"

#include <algorithm>
#include <limits>
#include <map>
#include <set>

#include "base/text.h"
#include "graph/operator.h"
#include "shoal/error.h"

namespace shoal::lower {
namespace {

using graph::at;
using graph::Graph;
using graph::kNoNode;
using graph::kNoValue;
using graph::Node;
using graph::Phase;
using graph::ValueId;
using Work = Stages::Work;

constexpr int kUnknown = -1;

bool is_of_libtorch(const Node& node) { return !node.op.starts_with("shoal::"); }

// By node of backward: the node of forward that it belongs to; kNoNode where autograd did not say. Of the nodes of
// one call (what it is made of, how its inputs came together from parts) it is the one, none of our own if there is
// another, that has most to do with what backward reads, or else with a parameter.
std::vector<size_t> forward_nodes(const Graph& graph) {
  struct Call {
    size_t first = kNoNode, last = kNoNode;  // of forward
    std::set<ValueId> read;                    // by its backward
  };
  std::map<int64_t, Call> calls;
  for (size_t n = 0; n < graph.nodes.size(); ++n) {
    const Node& node = graph.nodes[n];
    if (node.phase != Phase::kForward || node.call == 0) continue;
    Call& call = calls[node.call];
    if (call.first == kNoNode) call.first = n;
    call.last = n;
  }
  std::vector<Call*> of(graph.nodes.size(), nullptr);
  for (size_t n = 0; n < graph.nodes.size(); ++n) {
    const Node& node = graph.nodes[n];
    if (node.phase == Phase::kForward || node.call == 0) continue;
    const auto found = calls.lower_bound(node.call);
    if (found == calls.end()) continue;
    of[n] = &found->second;
    if (is_of_libtorch(node)) graph::for_each_input(node, [&](ValueId id) { found->second.read.insert(id); });
  }
  std::set<ValueId> parameters;
  for (const graph::Input& input : graph.inputs)
    if (input.kind == graph::InputKind::kParameter) parameters.insert(input.value);
  std::map<const Call*, size_t> nodes;
  for (const auto& [number, call] : calls) {
    int best = 0;
    size_t& chosen = nodes[&call] = call.last;
    for (size_t n = call.first; n <= call.last; ++n) {
      const Node& node = graph.nodes[n];
      if (node.call != number || node.phase != Phase::kForward) continue;
      constexpr int kOfLibTorch = 1 << 20;
      int score = is_of_libtorch(node) ? kOfLibTorch : 0;
      const auto look = [&](ValueId id) { score += call.read.contains(id) ? 2 : parameters.contains(id) ? 1 : 0; };
      graph::for_each_input(node, look);
      for (const ValueId id : node.results) look(id);
      if (score > best) best = score, chosen = n;
    }
  }
  std::vector<size_t> all(graph.nodes.size(), kNoNode);
  for (size_t n = 0; n < all.size(); ++n)
    if (of[n]) all[n] = nodes.at(of[n]);
  return all;
}

// Parameters by value, and what only looks at one in another shape (the transpose that a linear layer reads): it is where
// it is read.
struct Parameters {
  std::map<ValueId, const std::string*> names;
  std::vector<bool> looks;  // by node

  explicit Parameters(const Graph& graph) : looks(graph.nodes.size(), false) {
    for (const graph::Input& input : graph.inputs)
      if (input.kind == graph::InputKind::kParameter) names[input.value] = &input.name;
    for (size_t n = 0; n < graph.nodes.size(); ++n) {
      const Node& node = graph.nodes[n];
      if (node.phase != Phase::kForward || !graph::is_view(node)) continue;
      std::set<ValueId> inputs;
      graph::for_each_input(node, [&](ValueId id) { inputs.insert(id); });
      const auto found = inputs.size() == 1 ? names.find(*inputs.begin()) : names.end();
      if (found == names.end()) continue;
      looks[n] = true;
      const std::string* const name = found->second;
      for (const ValueId id : node.results)
        if (id != kNoValue) names[id] = name;
    }
  }
};

// Where forward first reads each parameter: the first node of the call that does, where backward has to do with it, since
// what belongs to a call stays together (zeros that a batch norm begins with, a bias that is a node of its own).
std::map<std::string, size_t> first_reads(const Graph& graph, const Parameters& parameters) {
  std::set<int64_t> calls;  // of backward
  for (const Node& node : graph.nodes)
    if (node.phase == Phase::kBackward && node.call > 0) calls.insert(node.call);
  std::map<std::string, size_t> first;
  size_t begin = 0;
  for (size_t n = 0; n < graph.nodes.size(); ++n) {
    const Node& node = graph.nodes[n];
    if (node.phase != Phase::kForward || parameters.looks[n]) continue;
    if (n == 0 || graph.nodes[n - 1].call != node.call || !calls.contains(node.call)) begin = n;
    graph::for_each_input(node, [&](ValueId id) {
      if (const auto found = parameters.names.find(id); found != parameters.names.end())
        first.try_emplace(*found->second, begin);
    });
  }
  return first;
}

bool has_parameter(const Graph& graph, const std::string& name) {
  return std::ranges::any_of(graph.inputs, [&](const graph::Input& input) {
    return input.kind == graph::InputKind::kParameter && input.name == name;
  });
}

// Where a model can be cut, and what that costs.
struct Candidates {
  std::vector<std::string> names;
  std::vector<double> before;   // seconds of all that comes before, forward and backward; one more: of everything
  std::vector<double> crossing;  // bytes over the edges of a cut there
};

Candidates candidates_of(const Graph& graph, const NodeCosts& costs) {
  const std::vector<size_t> forward = forward_nodes(graph);
  const Parameters parameters(graph);
  const std::vector<double> of_nodes = costs.of(graph);
  std::vector<double> seconds(graph.nodes.size(), 0);
  std::vector<size_t> last_read(graph.values.size(), 0);
  for (size_t n = 0; n < graph.nodes.size(); ++n) {
    const Node& node = graph.nodes[n];
    const size_t place = node.phase == Phase::kForward ? n : forward[n];
    if (place != kNoNode) seconds[place] += of_nodes[n];
  }
  for (size_t n = 0; n < graph.nodes.size(); ++n)
    if (graph.nodes[n].phase == Phase::kForward)
      graph::for_each_input(graph.nodes[n], [&](ValueId id) { last_read[at(id)] = n; });
  std::vector<double> change(graph.nodes.size() + 2, 0);  // of what crosses, by position
  for (size_t n = 0; n < graph.nodes.size(); ++n)
    for (const ValueId id : graph.nodes[n].results) {
      if (id == kNoValue || last_read[at(id)] <= n || graph.nodes[n].phase != Phase::kForward || parameters.looks[n]) continue;
      const auto bytes = static_cast<double>(graph.type(id).bytes());
      change[n + 1] += bytes;
      change[last_read[at(id)] + 1] -= bytes;
    }
  Candidates all;
  const std::map<std::string, size_t> first = first_reads(graph, parameters);
  std::map<size_t, std::string> reads;  // for each place the parameter that was registered first, a weight before its bias
  for (const graph::Input& input : graph.inputs)
    if (const auto found = first.find(input.name); found != first.end()) reads.try_emplace(found->second, found->first);
  double sum = 0, crosses = 0;
  for (size_t n = 0; n < graph.nodes.size(); ++n) {
    crosses += change[n];
    if (const auto read = reads.find(n); read != reads.end() && read != reads.begin()) {
      all.names.push_back(read->second);
      all.before.push_back(sum);
      all.crossing.push_back(crosses);
    }
    sum += seconds[n];
  }
  all.before.push_back(sum);
  return all;
}

}  // namespace

StageCut balanced_cut(const Graph& graph, int64_t count, const NodeCosts& node_costs) {
  if (count <= 1) return {};
  const Candidates all = candidates_of(graph, node_costs);
  const size_t places = all.names.size(), stages = static_cast<size_t>(count);
  if (places + 1 < stages)
    throw InputError(cat("layout - pp: got ", count, " stages, want at most ", places + 1,
                         ": the model is cut where it begins to use a parameter"));
  constexpr double kNever = std::numeric_limits<double>::infinity();
  const auto begin = [&](size_t place) { return place == 0 ? 0.0 : all.before[place - 1]; };  // 0: the model's start
  // best[s][p]: of s + 1 stages before place p, the least of what `join` makes of their costs.
  using Table = std::vector<std::vector<double>>;
  const auto solve = [&](const auto& cost, const auto& join, std::vector<std::vector<size_t>>& from) {
    Table best(stages, std::vector<double>(places + 2, kNever));
    from.assign(stages, std::vector<size_t>(places + 2, 0));
    for (size_t p = 1; p <= places + 1; ++p) best[0][p] = cost(size_t{0}, p);
    for (size_t s = 1; s < stages; ++s)
      for (size_t p = s + 1; p <= places + 1; ++p)
        for (size_t q = s; q < p; ++q)
          if (const double value = join(best[s - 1][q], cost(q, p)); value < best[s][p])
            best[s][p] = value, from[s][p] = q;
    return best[stages - 1][places + 1];
  };
  std::vector<std::vector<size_t>> from;
  const auto seconds = [&](size_t a, size_t b) { return all.before[b - 1] - begin(a); };
  const double slowest = solve(seconds, [](double a, double b) { return std::max(a, b); }, from);
  constexpr double kNearly = 1.02;
  const auto bytes = [&](size_t a, size_t b) {
    return seconds(a, b) > slowest * kNearly ? kNever : a == 0 ? 0.0 : all.crossing[a - 1];
  };
  solve(bytes, [](double a, double b) { return a + b; }, from);
  StageCut cut;
  for (size_t s = stages - 1, p = places + 1; s > 0; --s) {
    p = from[s][p];
    cut.push_back(all.names[p - 1]);
  }
  std::ranges::reverse(cut);
  return cut;
}

Stages assign_stages(const Graph& graph, const StageCut& cut) {
  Stages stages{.count = static_cast<int>(cut.size()) + 1, .nodes = std::vector<Stages::Place>(graph.nodes.size())};
  const Parameters parameters(graph);
  const std::map<std::string, size_t> reads = first_reads(graph, parameters);
  std::vector<size_t> begins(cut.size(), graph.nodes.size());
  for (size_t s = cut.size(); s-- > 0;) {
    const auto found = reads.find(cut[s]);
    if (found == reads.end() && !has_parameter(graph, cut[s]))
      throw InputError(cat("pipeline - stages: got ", cut[s], ", want the name of a parameter, such as ",
                           reads.empty() ? std::string("none here") : reads.begin()->first));
    begins[s] = found != reads.end() ? found->second : s + 1 < cut.size() ? begins[s + 1] : graph.nodes.size();
    if (s + 1 < cut.size() && begins[s] > begins[s + 1])
      throw InputError(cat("pipeline - stages: the model reads ", cut[s + 1], " before ", cut[s],
                           ", want the order of the stages; name them in the order in which forward uses them"));
  }
  const std::vector<size_t> made_by = graph::makers(graph), forward = forward_nodes(graph);
  const auto is_backward = [&](size_t n) { return n != kNoNode && graph.nodes[n].phase == Phase::kBackward; };
  const auto forward_stage = [&](size_t n) {
    return static_cast<int>(std::ranges::upper_bound(begins, n) - begins.begin());
  };
  std::vector<std::vector<size_t>> readers(graph.nodes.size());  // of backward, by node of backward
  for (size_t n = 0; n < graph.nodes.size(); ++n) {
    if (!is_backward(n)) continue;
    graph::for_each_input(graph.nodes[n], [&](ValueId id) {
      if (is_backward(made_by[at(id)])) readers[made_by[at(id)]].push_back(n);
    });
  }
  const auto maker_stage = [&](ValueId id) { return made_by[at(id)] == kNoNode ? 0 : stages.nodes[made_by[at(id)]].stage; };
  std::vector<int> first_reader(graph.values.size(), stages.count);  // in forward
  for (size_t n = graph.nodes.size(); n-- > 0;) {
    if (is_backward(n)) continue;
    int& stage = stages.nodes[n].stage;
    stage = forward_stage(n);
    if (parameters.looks[n]) {
      int first = stages.count;
      for (const ValueId id : graph.nodes[n].results)
        if (id != kNoValue) first = std::min(first, first_reader[at(id)]);
      if (first < stages.count) stage = first;
    }
    graph::for_each_input(graph.nodes[n], [&](ValueId id) { first_reader[at(id)] = std::min(first_reader[at(id)], stage); });
  }
  for (size_t n = 0; n < graph.nodes.size(); ++n)
    if (is_backward(n)) stages.nodes[n].stage = forward[n] == kNoNode ? kUnknown : stages.nodes[forward[n]].stage;
  // Sums of gradients, which the engine makes between two calls, go with what reads them.
  for (size_t n = graph.nodes.size(); n-- > 0;)
    if (int& stage = stages.nodes[n].stage; stage == kUnknown)
      for (const size_t reader : readers[n]) stage = std::max(stage, stages.nodes[reader].stage);
  // Gradients flow to earlier stages only.
  for (size_t n = 0; n < graph.nodes.size(); ++n) {
    if (!is_backward(n)) continue;
    int& stage = stages.nodes[n].stage;
    int latest = stages.count - 1;
    graph::for_each_input(graph.nodes[n], [&](ValueId id) {
      if (is_backward(made_by[at(id)])) latest = std::min(latest, stages.nodes[made_by[at(id)]].stage);
    });
    stage = stage == kUnknown ? latest : std::min(stage, latest);
  }
  std::set<ValueId> leaving(graph.results.begin(), graph.results.end());
  leaving.insert(graph.buffer_update.observed.begin(), graph.buffer_update.observed.end());
  for (size_t n = graph.nodes.size(); n-- > 0;) {
    if (!is_backward(n)) continue;
    auto& [stage, work] = stages.nodes[n];
    const bool leaves = std::ranges::any_of(graph.nodes[n].results, [&](ValueId id) { return leaving.contains(id); });
    const bool stays = std::ranges::all_of(readers[n], [&, stage = stage](size_t reader) {
      const Stages::Place& place = stages.nodes[reader];
      return place.work == Work::kWeightGradient && place.stage == stage;
    });
    work = stays && !leaves ? Work::kWeightGradient : Work::kBackward;
  }
  if (!graph.results.empty()) stages.of_result = maker_stage(graph.results[0]);
  return stages;
}

std::vector<StageCost> stage_costs(const Graph& graph, const Stages& stages, const NodeCosts& node_costs) {
  const std::vector<double> seconds = node_costs.of(graph);
  std::vector<StageCost> costs(static_cast<size_t>(stages.count));
  for (size_t n = 0; n < graph.nodes.size(); ++n) {
    const auto& [stage, work] = stages.nodes[n];
    StageCost& cost = costs[static_cast<size_t>(stage)];
    (work == Work::kForward ? cost.forward : work == Work::kBackward ? cost.backward : cost.weight_gradient) +=
        seconds[n];
  }
  return costs;
}

TurnCost turn_cost(std::vector<StageCost> costs) {
  return [costs = std::move(costs)](const Turn& turn) {
    const auto& [forward, backward, weights] = costs.at(static_cast<size_t>(turn.stage));
    switch (turn.pass) {
      case Turn::Pass::kForward:
        return forward;
      case Turn::Pass::kInputGradient:
        return backward;
      case Turn::Pass::kWeightGradient:
        return weights;
      case Turn::Pass::kBackward:
        break;
    }
    return backward + weights;
  };
}

std::vector<int> Stages::blocks(bool splits_first) const {
  std::vector<int> all;
  for (const auto& [stage, work] : nodes)
    all.push_back(block_of({stage, work == Work::kWeightGradient && stage == 0 && !splits_first ? Work::kBackward : work}));
  return all;
}

std::vector<Stages::Place> places_of(const Turn& turn, bool splits_first) {
  switch (turn.pass) {
    case Turn::Pass::kForward:
      return {{turn.stage, Work::kForward}};
    case Turn::Pass::kWeightGradient:
      return {{turn.stage, Work::kWeightGradient}};
    case Turn::Pass::kInputGradient:
    case Turn::Pass::kBackward:
      break;
  }
  std::vector<Stages::Place> places = {{turn.stage, Work::kBackward}};
  if (turn.pass == Turn::Pass::kBackward && (turn.stage > 0 || splits_first))
    places.push_back({turn.stage, Work::kWeightGradient});
  return places;
}

int Stages::block_of(Place place) const {
  if (place.work == Work::kForward) return place.stage;
  return count + 2 * (count - 1 - place.stage) + (place.work == Work::kWeightGradient ? 1 : 0);
}

Stages::Place Stages::place_of(int block) const {
  if (block < count) return {block, Work::kForward};
  const int backward = block - count;
  return {count - 1 - backward / 2, backward % 2 == 1 ? Work::kWeightGradient : Work::kBackward};
}

StageUses::StageUses(const Storage& storage) : readers(storage.units.size(), {0}) {
  for (const Unit& unit : storage.units) contributions.emplace_back(unit.contributions.size(), 0);
}

StageUses::StageUses(const Graph& graph, const Stages& stages, const Storage& storage) : StageUses(storage) {
  of_result = stages.of_result;
  std::map<ValueId, size_t> units;
  for (const graph::Input& input : graph.inputs)
    if (const auto unit = storage.find(input.name, input.part); unit && input.kind == graph::InputKind::kParameter)
      units[input.value] = *unit;
  std::vector<std::set<int>> all(storage.units.size());
  for (size_t n = 0; n < graph.nodes.size(); ++n)
    graph::for_each_input(graph.nodes[n], [&](ValueId id) {
      if (const auto found = units.find(id); found != units.end()) all[found->second].insert(stages.nodes[n].stage);
    });
  const std::vector<size_t> made_by = graph::makers(graph);
  for (const graph::Gradient& gradient : graph.gradients) {
    const size_t unit = storage.find(gradient.parameter, gradient.part).value();
    for (size_t c = 0; c < gradient.contributions.size(); ++c) {
      const size_t maker = made_by[at(gradient.contributions[c])];
      const int stage = maker == kNoNode ? 0 : stages.nodes[maker].stage;
      contributions[unit][c] = stage;
      all[unit].insert(stage);
    }
  }
  for (size_t u = 0; u < all.size(); ++u) readers[u].assign(all[u].begin(), all[u].end());
}

}  // namespace shoal::lower
