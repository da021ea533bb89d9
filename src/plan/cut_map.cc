#include "plan/cut_map.h"

#include <algorithm>
#include <set>

#include "base/text.h"

namespace shoal::plan {
namespace {

using graph::Cut;
using graph::Graph;
using graph::kNoValue;
using graph::Node;
using graph::ValueId;
using ops::Division;
using ops::Placement;
using Kind = Placement::Kind;

// A component pays when it divides this many operations for each byte that must move: below, the kernels
// saved take less time than the copy.
constexpr double kLeastIntensity = 8;
// What it is worth to keep one element of a weight, its gradient and optimizer state on one device only.
constexpr double kWorthOfElement = 64;

struct Use {
  size_t node;
  ops::Port port;
};

class Mapper {
 public:
  Mapper(const Graph& graph, int64_t parts) : graph_(graph), parts_(parts), uses_(graph.values.size()) {
    map_.parts = parts;
    map_.homes.resize(graph.values.size());
    map_.divisions.resize(graph.nodes.size());
    for (size_t n = 0; n < graph.nodes.size(); ++n) {
      inputs_.emplace_back();
      graph::for_each_input(graph.nodes[n], [&](ValueId id) { inputs_[n].push_back(id); });
      for (size_t i = 0; i < inputs_[n].size(); ++i)
        uses_[at(inputs_[n][i])].push_back({n, {false, static_cast<int>(i)}});
      const auto& results = graph.nodes[n].results;
      for (size_t i = 0; i < results.size(); ++i)
        if (results[i] != kNoValue) uses_[at(results[i])].push_back({n, {true, static_cast<int>(i)}});
      costs_.push_back(ops::cost(graph, graph.nodes[n]));
      is_view_.push_back(ops::is_view(graph, graph.nodes[n]));
    }
    for (size_t id = 0; id < graph.values.size(); ++id) roots_.push_back(static_cast<ValueId>(id));
    for (size_t n = 0; n < graph.nodes.size(); ++n)
      if (inputs_[n].size() == 1 && graph.nodes[n].results.size() == 1 && is_view_[n])
        roots_[at(graph.nodes[n].results[0])] = roots_[at(inputs_[n][0])];
    find_weights();
    find_sums();
  }

  CutMap run(const std::map<std::string, Cut>* fixed) {
    if (parts_ > 1) {
      fixed == nullptr ? cut_weights() : cut_as(*fixed);
      fill();
      choose_divisions();
      pass_partial_sums();
    }
    return std::move(map_);
  }

 private:
  // Dims of values that are cut together, and what that brings.
  struct Component {
    std::vector<std::pair<ValueId, Cut>> members;
    std::map<ValueId, Cut> cut_of;
    double work = 0;  // operations on weights that it divides, and the worth of what is kept once
    double moved_bytes =
        0;  // of partial sums, of whole inputs that its nodes read, of values that others need whole
    double divided_bytes = 0;  // memory traffic of the nodes that it divides and nothing else does
    double whole_bytes = 0;    // of members that a node with no other choice needs whole
    bool has_weight = false;
  };

  static size_t at(ValueId id) { return static_cast<size_t>(id); }
  double bytes(ValueId id) const {
    return static_cast<double>(graph_.type(id).numel()) *
           static_cast<double>(c10::elementSize(graph_.type(id).dtype));
  }
  std::optional<Division> divide(size_t node, ops::Port port, Cut cut) const {
    std::optional<Division> division = ops::divide(graph_, graph_.nodes[node], port, cut, parts_);
    // A bias that must be added after the sum is a node of its own by now (passes.h).
    return division && division->added_after >= 0 ? std::nullopt : division;
  }
  ValueId value_at(size_t node, ops::Port port) const {
    const auto index = static_cast<size_t>(port.index);
    return port.output ? graph_.nodes[node].results[index] : inputs_[node][index];
  }
  template <class F>
  void for_each_port(size_t node, const Division& division, F&& f) const {
    for (size_t i = 0; i < division.inputs.size(); ++i) f(inputs_[node][i], division.inputs[i], false);
    for (size_t i = 0; i < division.outputs.size(); ++i)
      if (graph_.nodes[node].results[i] != kNoValue)
        f(graph_.nodes[node].results[i], division.outputs[i], true);
  }

  // A weight is a trained parameter, or what is made of weights alone (its transpose).
  void find_weights() {
    is_weight_.assign(graph_.values.size(), false);
    std::map<std::string, ValueId> by_name;
    for (const graph::Input& input : graph_.inputs) {
      if (input.kind != graph::InputKind::kParameter) continue;
      is_weight_[at(input.value)] = true;
      parameters_.push_back(input.value);
      by_name[input.name] = input.value;
    }
    for (size_t n = 0; n < graph_.nodes.size(); ++n) {
      const auto& inputs = inputs_[n];
      if (inputs.empty() ||
          !std::all_of(inputs.begin(), inputs.end(), [&](ValueId id) { return is_weight_[at(id)]; }))
        continue;
      for (ValueId id : graph_.nodes[n].results)
        if (id != kNoValue) is_weight_[at(id)] = true;
    }
    for (const graph::Gradient& gradient : graph_.gradients)
      for (ValueId id : gradient.contributions) {
        twins_[by_name.at(gradient.parameter)].push_back(id);
        twins_[id].push_back(by_name.at(gradient.parameter));
      }
  }

  // How a node passes partial sums on, when all that it reads are such: as a view, which costs nothing, or
  // where it makes one of several (the gradients of a value that is used several times). None is rounded by
  // the way.
  std::optional<Division> passes_sums(size_t node) const {
    const auto& inputs = inputs_[node];
    const auto& results = graph_.nodes[node].results;
    if (results.size() != 1 || results[0] == kNoValue || (inputs.size() < 2 && !is_view_[node]))
      return std::nullopt;
    const auto dtype = graph_.type(results[0]).dtype;
    if (std::any_of(inputs.begin(), inputs.end(), [&](ValueId id) { return graph_.type(id).dtype != dtype; }))
      return std::nullopt;
    return ops::pass_sums(graph_, graph_.nodes[node], std::vector<bool>(inputs.size(), true));
  }
  void find_sums() {
    std::vector<bool> is_output(graph_.values.size(), false);
    for (ValueId id : graph::outputs(graph_)) is_output[at(id)] = true;
    for (size_t id = 0; id < graph_.values.size(); ++id) sums_.push_back(static_cast<ValueId>(id));
    for (size_t id = graph_.values.size(); id-- > 0;) {
      std::vector<size_t> readers;
      for (const Use& use : uses_[id])
        if (!use.port.output) readers.push_back(use.node);
      if (is_output[id] || readers.size() != 1 || !passes_sums(readers[0])) continue;
      read_once_.insert(static_cast<ValueId>(id));
      sums_[id] = sums_[at(graph_.nodes[readers[0]].results[0])];
    }
  }

  // Partial sums that are only added to others are added part by part, and combined once.
  void pass_partial_sums() {
    std::set<ValueId> partial;
    const auto passes = [&](ValueId id) { return partial.contains(id) && read_once_.contains(id); };
    for (size_t n = 0; n < graph_.nodes.size(); ++n) {
      const auto& results = graph_.nodes[n].results;
      const bool all = !inputs_[n].empty() && std::all_of(inputs_[n].begin(), inputs_[n].end(), passes);
      if (all)
        if (auto division = passes_sums(n)) map_.divisions[n] = std::move(division);
      if (!map_.divisions[n]) continue;
      for (size_t i = 0; i < results.size(); ++i)
        if (results[i] != kNoValue && map_.divisions[n]->outputs[i].kind == Kind::kPartialSum)
          partial.insert(results[i]);
    }
  }

  // All that must be cut when `seed` is cut so, up to what already has a home.
  Component flood(ValueId seed, Cut seed_cut) const {
    Component component;
    if (map_.homes[at(seed)] || !ops::can_cut(graph_.type(seed).shape, seed_cut, parts_)) return component;
    std::set<size_t> divided;
    std::set<ValueId> moved;
    const auto add = [&](ValueId id, Cut cut) {
      if (const auto wanted = fixed_.find(id); wanted != fixed_.end() && wanted->second != cut) return;
      if (!component.cut_of.emplace(id, cut).second) return;
      component.members.emplace_back(id, cut);
    };
    add(seed, seed_cut);
    for (size_t next = 0; next < component.members.size(); ++next) {
      const auto [id, cut] = component.members[next];
      if (const auto twins = twins_.find(id); twins != twins_.end())
        for (ValueId twin : twins->second)
          if (!map_.homes[at(twin)]) add(twin, cut);
      // Vectors (biases, norms) are cut where a matrix is, or not at all.
      if (twins_.contains(id) && is_weight_[at(id)] && graph_.type(id).shape.size() >= 2) {
        component.has_weight = true;
        component.work += kWorthOfElement * static_cast<double>(graph_.type(id).numel());
      }
      for (const Use& use : uses_[at(id)]) {
        const std::optional<Division> division = divide(use.node, use.port, cut);
        if (!division) {
          // Whoever has another way to divide this node will want the value otherwise anyway.
          if (!claimed(use.node)) component.whole_bytes += bytes(id);
          if (!use.port.output && moved.insert(roots_[at(id)]).second) component.moved_bytes += bytes(id);
          continue;
        }
        if (!divided.insert(use.node).second) continue;
        const bool theirs = claimed(use.node);
        bool weighs = false;
        for_each_port(use.node, *division, [&](ValueId other, const Placement& placement, bool output) {
          if (placement.kind == Kind::kShard) {
            if (!output && is_weight_[at(other)] && !map_.homes[at(other)]) weighs = true;
            if (!map_.homes[at(other)] && ops::can_cut(graph_.type(other).shape, placement.cut, parts_))
              add(other, placement.cut);
          } else if (output || !is_weight_[at(other)]) {
            if (moved.insert(output ? sums_[at(other)] : roots_[at(other)]).second)
              component.moved_bytes += bytes(other);
          }
        });
        if (weighs) component.work += costs_[use.node].flops;
        if (!theirs) component.divided_bytes += costs_[use.node].bytes;
      }
    }
    return component;
  }

  // Whether a home decides already how this node is divided.
  bool claimed(size_t node) const {
    const auto has_home = [&](ops::Port port) {
      const ValueId id = value_at(node, port);
      return id != kNoValue && map_.homes[at(id)] && divide(node, port, *map_.homes[at(id)]);
    };
    for (size_t i = 0; i < inputs_[node].size(); ++i)
      if (has_home({false, static_cast<int>(i)})) return true;
    for (size_t i = 0; i < graph_.nodes[node].results.size(); ++i)
      if (has_home({true, static_cast<int>(i)})) return true;
    return false;
  }

  void accept(const Component& component) {
    for (const auto& [id, cut] : component.members) map_.homes[at(id)] = cut;
  }

  // Every component once, each with the first (value, cut) that leads to it; batch first, then parameters,
  // then the rest.
  std::vector<std::pair<ValueId, Cut>> seeds() const {
    std::vector<ValueId> order;
    for (const graph::Input& input : graph_.inputs)
      if (input.kind == graph::InputKind::kBatch) order.push_back(input.value);
    order.insert(order.end(), parameters_.begin(), parameters_.end());
    for (const Node& node : graph_.nodes)
      for (ValueId id : node.results)
        if (id != kNoValue) order.push_back(id);
    std::set<std::pair<ValueId, Cut>> seen;
    std::vector<std::pair<ValueId, Cut>> seeds;
    for (ValueId id : order)
      for (int dim = 0; dim < static_cast<int>(graph_.type(id).shape.size()); ++dim) {
        if (seen.contains({id, {dim, 1}})) continue;
        const Component component = flood(id, {dim, 1});
        if (component.members.empty()) continue;
        seeds.emplace_back(id, Cut{dim, 1});
        seen.insert(component.members.begin(), component.members.end());
      }
    return seeds;
  }

  void cut_weights() {
    struct Candidate {
      double intensity;
      std::pair<ValueId, Cut> seed;
    };
    const auto intensity = [](const Component& component) {
      return component.has_weight ? component.work / std::max(component.moved_bytes, 1.0) : 0;
    };
    std::vector<Candidate> candidates;
    for (const auto& seed : seeds())
      if (const double value = intensity(flood(seed.first, seed.second)); value >= kLeastIntensity)
        candidates.push_back({value, seed});
    std::stable_sort(candidates.begin(), candidates.end(),
                     [](const Candidate& a, const Candidate& b) { return a.intensity > b.intensity; });
    for (const Candidate& candidate : candidates) {
      const Component component = flood(candidate.seed.first, candidate.seed.second);
      if (intensity(component) >= kLeastIntensity) accept(component);
    }
  }

  void cut_as(const std::map<std::string, Cut>& fixed) {
    for (const graph::Input& input : graph_.inputs) {
      if (input.kind != graph::InputKind::kParameter) continue;
      const auto found = fixed.find(input.name);
      fixed_[input.value] = found == fixed.end() ? std::nullopt : std::optional(found->second);
    }
    // What is made of weights alone follows them, before what reads it can ask for another cut.
    for (size_t n = 0; n < graph_.nodes.size(); ++n) {
      const auto& results = graph_.nodes[n].results;
      if (inputs_[n].size() != 1 || results.size() != 1 || !is_weight_[at(results[0])]) continue;
      const auto known = fixed_.find(inputs_[n][0]);
      if (known == fixed_.end()) continue;
      const auto division = known->second ? divide(n, {false, 0}, *known->second) : std::nullopt;
      const bool cuts = division && division->outputs[0].kind == Kind::kShard;
      fixed_[results[0]] = cuts ? std::optional(division->outputs[0].cut) : std::nullopt;
    }
    for (ValueId id : parameters_)
      if (fixed_.at(id)) accept(flood(id, *fixed_.at(id)));
  }

  void fill() {
    for (ValueId id : parameters_)
      if (!map_.homes[at(id)]) kept_whole_.insert(id);
    const auto gain = [&](const Component& component) {
      for (const auto& [id, cut] : component.members)
        if (kept_whole_.contains(id)) return 0.0;
      return component.divided_bytes - 2 * component.whole_bytes;
    };
    std::vector<std::pair<double, std::pair<ValueId, Cut>>> candidates;
    for (const auto& seed : seeds())
      if (const double value = gain(flood(seed.first, seed.second)); value > 0)
        candidates.emplace_back(value, seed);
    std::stable_sort(candidates.begin(), candidates.end(),
                     [](const auto& a, const auto& b) { return a.first > b.first; });
    for (const auto& [value, seed] : candidates) {
      const Component component = flood(seed.first, seed.second);
      if (gain(component) > 0) accept(component);
    }
  }

  // Seconds on a device of these speeds, which only have to be in proportion.
  static constexpr double kFlopsPerSecond = 100e9, kBytesPerSecond = 10e9;

  double run_seconds(size_t node) const {
    return costs_[node].flops / kFlopsPerSecond + costs_[node].bytes / kBytesPerSecond;
  }

  // What must move so that a node may read `placement` of a value, or leave it at home.
  double move_seconds(ValueId id, const Placement& placement, bool output) const {
    const std::optional<Cut>& home = map_.homes[at(id)];
    double times = 0;  // the value's bytes are moved
    switch (placement.kind) {
      case Kind::kReplicate:
        times = !output && home ? 1 : 0;
        break;
      case Kind::kShard:
        if (home && *home != placement.cut) times = 1.0 / static_cast<double>(parts_);
        if (!home && output) times = 1;
        break;
      default:
        times = home ? 1 : 2;
        break;
    }
    // Weights stay where they are: gathering one costs what dividing it has saved.
    if (!output && is_weight_[at(id)]) times *= 100;
    return times * bytes(id) / kBytesPerSecond;
  }

  // A value that some node reads in another form than its home is converted once for all that read it so.
  using Form = std::pair<ValueId, std::optional<Cut>>;

  template <class F>
  void for_each_conversion(size_t node, const Division& division, F&& f) const {
    for (size_t i = 0; i < division.inputs.size(); ++i) {
      const Placement& placement = division.inputs[i];
      const ValueId id = inputs_[node][i];
      if (placement.kind == Kind::kShard) {
        if (map_.homes[at(id)] != placement.cut) f(Form{id, placement.cut}, placement);
      } else if (map_.homes[at(id)] && map_.homes[at(roots_[at(id)])]) {
        f(Form{roots_[at(id)], std::nullopt}, placement);  // a view of the whole is free
      }
    }
  }

  double seconds(size_t node, const Division& division) const {
    double total = run_seconds(node) / static_cast<double>(parts_);
    for_each_conversion(node, division, [&](const Form& form, const Placement& placement) {
      const auto others = demand_.find(form);
      if (others == demand_.end() || others->second == 0) total += move_seconds(form.first, placement, false);
    });
    for (size_t i = 0; i < division.outputs.size(); ++i)
      if (const ValueId id = graph_.nodes[node].results[i]; id != kNoValue)
        total += move_seconds(id, division.outputs[i], true);
    return total;
  }

  Division whole(size_t node) const {
    Division division;
    division.inputs.resize(inputs_[node].size());
    division.outputs.resize(graph_.nodes[node].results.size());
    return division;
  }

  void count_demand(size_t node, int by) {
    for_each_conversion(node, map_.divisions[node] ? *map_.divisions[node] : whole(node),
                        [&](const Form& form, const Placement&) { demand_[form] += by; });
  }

  // The cheapest way to run each node, given what the others do; settles after a few rounds, and any round is
  // right.
  void choose_divisions() {
    constexpr int kRounds = 3;
    for (int round = 0; round < kRounds; ++round)
      for (size_t n = 0; n < graph_.nodes.size(); ++n) {
        if (round > 0) count_demand(n, -1);
        choose_division(n);
        count_demand(n, +1);
      }
    double all = 0, divided = 0;
    for (size_t n = 0; n < graph_.nodes.size(); ++n) {
      all += costs_[n].flops;
      if (map_.divisions[n]) divided += costs_[n].flops;
    }
    map_.divided_share = all > 0 ? divided / all : 0;
  }

  void choose_division(size_t n) {
    map_.divisions[n].reset();
    double best = seconds(n, whole(n)) + run_seconds(n) * (1 - 1.0 / static_cast<double>(parts_));
    const auto consider = [&](ops::Port port) {
      const ValueId id = value_at(n, port);
      if (id == kNoValue || !map_.homes[at(id)]) return;
      std::optional<Division> division = divide(n, port, *map_.homes[at(id)]);
      if (!division) return;
      if (const double cost = seconds(n, *division); cost < best)
        best = cost, map_.divisions[n] = std::move(division);
    };
    for (size_t i = 0; i < graph_.nodes[n].results.size(); ++i) consider({true, static_cast<int>(i)});
    for (size_t i = 0; i < inputs_[n].size(); ++i) consider({false, static_cast<int>(i)});
  }

  const Graph& graph_;
  const int64_t parts_;
  std::vector<std::vector<Use>> uses_;        // by value
  std::vector<std::vector<ValueId>> inputs_;  // by node
  std::vector<ops::Cost> costs_;              // by node
  std::vector<bool> is_view_;                 // by node
  std::vector<ValueId> sums_;                 // by value: the sum that it is only a part of, or itself
  std::set<ValueId> read_once_;               // by a view or a sum
  std::vector<ValueId> roots_;                // by value: what it is a view of, or itself
  std::vector<bool> is_weight_;               // by value
  std::vector<ValueId> parameters_;
  std::map<ValueId, std::vector<ValueId>> twins_;  // a parameter and its gradients are cut alike
  std::map<ValueId, std::optional<Cut>> fixed_;    // weights, when another graph has decided
  std::set<ValueId> kept_whole_;
  std::map<Form, int> demand_;  // how many nodes read a value in that form
  CutMap map_;
};

}  // namespace

CutMap make_cut_map(const Graph& graph, int64_t parts, const std::map<std::string, Cut>* fixed) {
  return Mapper(graph, parts).run(fixed);
}

std::string print(const Graph& graph, const CutMap& map) {
  const auto divided =
      std::count_if(map.divisions.begin(), map.divisions.end(), [](auto& d) { return d.has_value(); });
  std::string text =
      cat("cut map: ", map.parts, " parts, ", divided, " of ", map.divisions.size(), " nodes divided, ",
          static_cast<int64_t>(map.divided_share * 1000 + 0.5) / 10.0, " % of the operations\n");
  for (const graph::Input& input : graph.inputs) {
    if (input.kind != graph::InputKind::kParameter) continue;
    const auto& home = map.homes[static_cast<size_t>(input.value)];
    text += cat("  ", input.name, " ", graph::print(graph.type(input.value)), " ",
                home ? ops::print({Kind::kShard, *home}) : "whole", "\n");
  }
  return text;
}

}  // namespace shoal::plan
