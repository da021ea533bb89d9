#include "numerics/homes.h"

#include <algorithm>
#include <set>
#include <utility>

namespace shoal::numerics {
namespace {

using graph::Cut;
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

class Chooser {
 public:
  explicit Chooser(const Dataflow& flow) : flow_(flow), homes_(flow.graph.values.size()) {}

  Homes run(const std::map<std::string, Cut>* fixed) {
    fixed == nullptr ? cut_weights() : cut_as(*fixed);
    fill();
    return std::move(homes_);
  }

 private:
  // Dims of values that are cut together, and what that brings.
  struct Component {
    std::vector<std::pair<ValueId, Cut>> members;
    std::map<ValueId, Cut> cut_of;
    double work = 0;  // operations on weights that it divides, and the worth of what is kept once
    // Of partial sums, of whole inputs that its nodes read, of values that others need whole.
    double moved_bytes = 0;
    double divided_bytes = 0;  // memory traffic of the nodes that it divides and nothing else does
    double whole_bytes = 0;    // of members that a node with no other choice needs whole
    bool has_weight = false;
  };

  template <class F>
  void for_each_port(size_t node, const Division& division, F&& f) const {
    for (size_t i = 0; i < division.inputs.size(); ++i) f(flow_.inputs[node][i], division.inputs[i], false);
    for (size_t i = 0; i < division.outputs.size(); ++i)
      if (flow_.graph.nodes[node].results[i] != kNoValue)
        f(flow_.graph.nodes[node].results[i], division.outputs[i], true);
  }

  // All that must be cut when `seed` is cut so, up to what already has a home.
  Component flood(ValueId seed, Cut seed_cut) const {
    Component component;
    if (homes_[at(seed)] || !ops::can_cut(flow_.graph.type(seed).shape, seed_cut, flow_.parts))
      return component;
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
      if (const auto twins = flow_.twins.find(id); twins != flow_.twins.end())
        for (ValueId twin : twins->second)
          if (!homes_[at(twin)]) add(twin, cut);
      // Vectors (biases, norms) are cut where a matrix is, or not at all.
      if (flow_.twins.contains(id) && flow_.is_weight[at(id)] && flow_.graph.type(id).shape.size() >= 2) {
        component.has_weight = true;
        component.work += kWorthOfElement * static_cast<double>(flow_.graph.type(id).numel());
      }
      for (const Use& use : flow_.uses[at(id)]) {
        const std::optional<Division> division = flow_.divide(use.node, use.port, cut);
        if (!division) {
          // Whoever has another way to divide this node will want the value otherwise anyway.
          if (!claimed(use.node)) component.whole_bytes += flow_.bytes(id);
          if (!use.port.output && moved.insert(flow_.roots[at(id)]).second)
            component.moved_bytes += flow_.bytes(id);
          continue;
        }
        if (!divided.insert(use.node).second) continue;
        const bool theirs = claimed(use.node);
        bool weighs = false;
        for_each_port(use.node, *division, [&](ValueId other, const Placement& placement, bool output) {
          if (placement.kind == Kind::kShard) {
            if (!output && flow_.is_weight[at(other)] && !homes_[at(other)]) weighs = true;
            if (!homes_[at(other)] && ops::can_cut(flow_.graph.type(other).shape, placement.cut, flow_.parts))
              add(other, placement.cut);
          } else if (output || !flow_.is_weight[at(other)]) {
            if (moved.insert(output ? flow_.sums[at(other)] : flow_.roots[at(other)]).second)
              component.moved_bytes += flow_.bytes(other);
          }
        });
        if (weighs) component.work += flow_.costs[use.node].flops;
        if (!theirs) component.divided_bytes += flow_.costs[use.node].bytes;
      }
    }
    return component;
  }

  // Whether a home decides already how this node is divided.
  bool claimed(size_t node) const {
    const auto has_home = [&](ops::Port port) {
      const ValueId id = flow_.value_at(node, port);
      return id != kNoValue && homes_[at(id)] && flow_.divide(node, port, *homes_[at(id)]);
    };
    for (size_t i = 0; i < flow_.inputs[node].size(); ++i)
      if (has_home({false, static_cast<int>(i)})) return true;
    for (size_t i = 0; i < flow_.graph.nodes[node].results.size(); ++i)
      if (has_home({true, static_cast<int>(i)})) return true;
    return false;
  }

  void accept(const Component& component) {
    for (const auto& [id, cut] : component.members) homes_[at(id)] = cut;
  }

  // Every component once, each with the first (value, cut) that leads to it; batch first, then parameters,
  // then the rest.
  std::vector<std::pair<ValueId, Cut>> seeds() const {
    std::vector<ValueId> order;
    for (const graph::Input& input : flow_.graph.inputs)
      if (input.kind == graph::InputKind::kBatch) order.push_back(input.value);
    order.insert(order.end(), flow_.parameters.begin(), flow_.parameters.end());
    for (const Node& node : flow_.graph.nodes)
      for (ValueId id : node.results)
        if (id != kNoValue) order.push_back(id);
    std::set<std::pair<ValueId, Cut>> seen;
    std::vector<std::pair<ValueId, Cut>> seeds;
    for (ValueId id : order)
      for (int dim = 0; dim < static_cast<int>(flow_.graph.type(id).shape.size()); ++dim) {
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
    for (const graph::Input& input : flow_.graph.inputs) {
      if (input.kind != graph::InputKind::kParameter) continue;
      const auto found = fixed.find(input.name);
      fixed_[input.value] = found == fixed.end() ? std::nullopt : std::optional(found->second);
    }
    // What is made of weights alone follows them, before what reads it can ask for another cut.
    for (size_t n = 0; n < flow_.graph.nodes.size(); ++n) {
      const auto& results = flow_.graph.nodes[n].results;
      if (flow_.inputs[n].size() != 1 || results.size() != 1 || !flow_.is_weight[at(results[0])]) continue;
      const auto known = fixed_.find(flow_.inputs[n][0]);
      if (known == fixed_.end()) continue;
      const auto division = known->second ? flow_.divide(n, {false, 0}, *known->second) : std::nullopt;
      const bool cuts = division && division->outputs[0].kind == Kind::kShard;
      fixed_[results[0]] = cuts ? std::optional(division->outputs[0].cut) : std::nullopt;
    }
    for (ValueId id : flow_.parameters)
      if (fixed_.at(id)) accept(flood(id, *fixed_.at(id)));
  }

  void fill() {
    for (ValueId id : flow_.parameters)
      if (!homes_[at(id)]) kept_whole_.insert(id);
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

  const Dataflow& flow_;
  std::map<ValueId, std::optional<Cut>> fixed_;  // weights, when another graph has decided
  std::set<ValueId> kept_whole_;
  Homes homes_;
};

}  // namespace

Homes choose_homes(const Dataflow& flow, const std::map<std::string, Cut>* fixed) {
  return Chooser(flow).run(fixed);
}

}  // namespace shoal::numerics
