#include "numerics/divisions.h"

#include <algorithm>
#include <map>
#include <set>
#include <utility>

namespace shoal::numerics {
namespace {

using graph::Cut;
using graph::kNoValue;
using graph::ValueId;
using ops::Division;
using ops::Placement;
using Kind = Placement::Kind;

class Chooser {
 public:
  Chooser(const Dataflow& flow, const Homes& homes)
      : flow_(flow), homes_(homes), divisions_(flow.graph.nodes.size()) {}

  // The cheapest way to run each node, given what the others do; settles after a few rounds, and any round is
  // right.
  Divisions run() {
    constexpr int kRounds = 3;
    for (int round = 0; round < kRounds; ++round)
      for (size_t n = 0; n < flow_.graph.nodes.size(); ++n) {
        if (round > 0) count_demand(n, -1);
        choose_division(n);
        count_demand(n, +1);
      }
    return std::move(divisions_);
  }

 private:
  // Seconds on a device of these speeds, which only have to be in proportion.
  static constexpr double kFlopsPerSecond = 100e9, kBytesPerSecond = 10e9;

  double run_seconds(size_t node) const {
    return flow_.costs[node].flops / kFlopsPerSecond + flow_.costs[node].bytes / kBytesPerSecond;
  }

  // What must move so that a node may read `placement` of a value, or leave it at home.
  double move_seconds(ValueId id, const Placement& placement, bool output) const {
    const std::optional<Cut>& home = homes_[at(id)];
    double times = 0;  // the value's bytes are moved
    switch (placement.kind) {
      case Kind::kReplicate:
        times = !output && home ? 1 : 0;
        break;
      case Kind::kShard:
        if (home && *home != placement.cut) times = 1.0 / static_cast<double>(flow_.parts);
        if (!home && output) times = 1;
        break;
      default:
        times = home ? 1 : 2;
        break;
    }
    // Weights stay where they are: gathering one costs what dividing it has saved.
    if (!output && flow_.is_weight[at(id)]) times *= 100;
    return times * flow_.bytes(id) / kBytesPerSecond;
  }

  // A value that some node reads in another form than its home is converted once for all that read it so.
  using Form = std::pair<ValueId, std::optional<Cut>>;

  template <class F>
  void for_each_conversion(size_t node, const Division& division, F&& f) const {
    for (size_t i = 0; i < division.inputs.size(); ++i) {
      const Placement& placement = division.inputs[i];
      const ValueId id = flow_.inputs[node][i];
      if (placement.kind == Kind::kShard) {
        if (homes_[at(id)] != placement.cut) f(Form{id, placement.cut}, placement);
      } else if (homes_[at(id)] && homes_[at(flow_.roots[at(id)])]) {
        f(Form{flow_.roots[at(id)], std::nullopt}, placement);  // a view of the whole is free
      }
    }
  }

  double seconds(size_t node, const Division& division) const {
    double total = run_seconds(node) / static_cast<double>(flow_.parts);
    for_each_conversion(node, division, [&](const Form& form, const Placement& placement) {
      const auto others = demand_.find(form);
      if (others == demand_.end() || others->second == 0) total += move_seconds(form.first, placement, false);
    });
    for (size_t i = 0; i < division.outputs.size(); ++i)
      if (const ValueId id = flow_.graph.nodes[node].results[i]; id != kNoValue)
        total += move_seconds(id, division.outputs[i], true);
    return total;
  }

  void count_demand(size_t node, int by) {
    for_each_conversion(node, divisions_[node] ? *divisions_[node] : flow_.whole(node),
                        [&](const Form& form, const Placement&) { demand_[form] += by; });
  }

  void choose_division(size_t n) {
    divisions_[n].reset();
    double best = seconds(n, flow_.whole(n)) + run_seconds(n) * (1 - 1.0 / static_cast<double>(flow_.parts));
    const auto consider = [&](ops::Port port) {
      const ValueId id = flow_.value_at(n, port);
      if (id == kNoValue || !homes_[at(id)]) return;
      std::optional<Division> division = flow_.divide(n, port, *homes_[at(id)]);
      if (!division) return;
      if (const double cost = seconds(n, *division); cost < best)
        best = cost, divisions_[n] = std::move(division);
    };
    for (size_t i = 0; i < flow_.graph.nodes[n].results.size(); ++i) consider({true, static_cast<int>(i)});
    for (size_t i = 0; i < flow_.inputs[n].size(); ++i) consider({false, static_cast<int>(i)});
  }

  const Dataflow& flow_;
  const Homes& homes_;
  std::map<Form, int> demand_;  // how many nodes read a value in that form
  Divisions divisions_;
};

}  // namespace

Divisions choose_divisions(const Dataflow& flow, const Homes& homes) { return Chooser(flow, homes).run(); }

void pass_partial_sums(const Dataflow& flow, Divisions& divisions) {
  std::set<ValueId> partial;
  const auto passes = [&](ValueId id) { return partial.contains(id) && flow.read_once.contains(id); };
  for (size_t n = 0; n < flow.graph.nodes.size(); ++n) {
    const auto& results = flow.graph.nodes[n].results;
    const auto& inputs = flow.inputs[n];
    const bool all = !inputs.empty() && std::all_of(inputs.begin(), inputs.end(), passes);
    if (all)
      if (auto division = flow.passes_sums(n)) divisions[n] = std::move(division);
    if (!divisions[n]) continue;
    for (size_t i = 0; i < results.size(); ++i)
      if (results[i] != kNoValue && divisions[n]->outputs[i].kind == Kind::kPartialSum)
        partial.insert(results[i]);
  }
}

}  // namespace shoal::numerics
