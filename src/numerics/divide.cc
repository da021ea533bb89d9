#include "numerics/divide.h"

#include <map>
#include <optional>
#include <set>

#include "ops/divide.h"

namespace shoal::numerics {
namespace {

using graph::at;
using graph::Cut;
using graph::Graph;
using graph::kNoValue;
using graph::kWhole;
using graph::Node;
using graph::Tensor;
using graph::TensorList;
using graph::TensorType;
using graph::ValueId;
using ops::Division;
using ops::Placement;
using Kind = Placement::Kind;

const char* how(Kind kind) {
  switch (kind) {
    case Kind::kPartialMax:
      return "max";
    case Kind::kPartialMin:
      return "min";
    case Kind::kPartialLse:
      return "lse";
    case Kind::kReplicate:  // each part has made it, all alike
      return "first";
    default:
      return "sum";
  }
}

// Dense, with the dims in the order in memory that `like` has.
std::vector<int64_t> dense_strides(const std::vector<int64_t>& shape, const std::vector<int64_t>& like) {
  std::vector<size_t> order(shape.size());
  for (size_t i = 0; i < order.size(); ++i) order[i] = i;
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return like[a] > like[b]; });
  std::vector<int64_t> strides(shape.size());
  int64_t step = 1;
  for (size_t i = order.size(); i-- > 0;) {
    strides[order[i]] = step;
    step *= std::max<int64_t>(shape[order[i]], 1);
  }
  return strides;
}

// The forms in which a value of the undivided graph exists: each as one value (whole), or one for each part.
struct Forms {
  Placement made;  // how its node, or the graph's input, left it
  std::map<std::pair<int, int64_t>, std::vector<ValueId>> cuts;  // by (dim, outer)
  std::vector<ValueId> partials;
  ValueId whole = kNoValue;
};

class Divider {
 public:
  Divider(const Graph& from, const CutMap& map)
      : from_(from), map_(map), parts_(map.parts), forms_(from.values.size()) {
    out_.num_parts = parts_;
    find_views();
  }

  Graph run() {
    std::set<std::string> trained;
    for (const graph::Gradient& gradient : from_.gradients) trained.insert(gradient.parameter);
    const bool training = !from_.gradients.empty();
    for (const graph::Input& input : from_.inputs) {
      const std::optional<Cut>& home = map_.homes[at(input.value)];
      const bool divided = input.kind == graph::InputKind::kParameter && home &&
                           (training ? trained.contains(input.name) : true);
      if (divided) out_.cuts[input.name] = *home;
      add_input(input, divided ? home : std::nullopt);
    }
    add_data();
    // Whole nodes that only lead to gradients come last, so that the sums they read share one exchange.
    std::vector<size_t> order, last;
    const std::vector<bool> waits = can_wait();
    for (size_t n = 0; n < from_.nodes.size(); ++n) (waits[n] ? last : order).push_back(n);
    for (size_t n : order) add_node(n);
    phase_ = training ? graph::Phase::kBackward : graph::Phase::kForward;
    scope_.clear();
    call_ = 0;
    std::set<ValueId> made_last;
    for (size_t n : last) made_last.insert(from_.nodes[n].results.begin(), from_.nodes[n].results.end());
    for (size_t n : last)
      graph::for_each_input(from_.nodes[n], [&](ValueId id) {
        if (!made_last.contains(id)) whole(id);
      });
    for (size_t n : last) add_node(n);
    for (ValueId id : from_.results) out_.results.push_back(whole(id));
    call_ = 0;
    for (const graph::Gradient& gradient : from_.gradients) add_gradient(gradient);
    out_.buffer_update = from_.buffer_update;
    for (ValueId& id : out_.buffer_update.observed) id = whole(id);
    return std::move(out_);
  }

 private:
  // Which values are views, and which of them an operator reads by places in memory: those see the memory of
  // what they are views of.
  void find_views() {
    for (auto node = from_.nodes.rbegin(); node != from_.nodes.rend(); ++node) {
      std::vector<ValueId> inputs;
      graph::for_each_input(*node, [&](ValueId id) { inputs.push_back(id); });
      const auto by_memory = [&](ValueId id) { return by_memory_.contains(id); };
      if (ops::goes_by_memory(from_, *node)) by_memory_.insert(inputs.begin(), inputs.end());
      if (inputs.size() != 1 || !ops::costs_nothing(from_, *node)) continue;
      const bool read_so = std::any_of(node->results.begin(), node->results.end(), by_memory);
      if (read_so) by_memory_.insert(inputs[0]);
      if (read_so || node->results.size() == 1)
        for (ValueId id : node->results) view_of_[id] = &*node;
    }
  }

  void add_node(size_t n) {
    phase_ = from_.nodes[n].phase;
    scope_ = from_.nodes[n].scope;
    call_ = from_.nodes[n].call;
    map_.divisions[n] ? add_parts(from_.nodes[n], *map_.divisions[n]) : add_whole(from_.nodes[n]);
  }

  std::vector<bool> can_wait() const {
    std::vector<bool> waits(from_.nodes.size(), false), needed(from_.values.size(), false);
    for (size_t n = from_.nodes.size(); n-- > 0;) {
      const Node& node = from_.nodes[n];
      waits[n] = !map_.divisions[n] && node.phase == graph::Phase::kBackward &&
                 std::none_of(node.results.begin(), node.results.end(),
                              [&](ValueId id) { return id != kNoValue && needed[at(id)]; });
      if (!waits[n]) graph::for_each_input(node, [&](ValueId id) { needed[at(id)] = true; });
    }
    return waits;
  }

  Forms& forms(ValueId id) { return forms_[at(id)]; }

  TensorType part_type(const TensorType& type, Cut cut) const {
    TensorType part = type;
    part.shape = ops::part_shape(type.shape, cut, parts_);
    part.strides = dense_strides(part.shape, type.strides);
    return part;
  }

  void add_input(const graph::Input& input, const std::optional<Cut>& cut) {
    Forms& made = forms(input.value);
    if (!cut) {
      made.whole = out_.add_value(from_.type(input.value));
      out_.inputs.push_back({input.kind, input.name, made.whole});
      return;
    }
    made.made = {Kind::kShard, *cut};
    std::vector<ValueId>& list = made.cuts[{cut->dim, cut->outer}];
    for (int part = 0; part < parts_; ++part) {
      TensorType type = from_.type(input.value);
      type = graph::contiguous_type(type.dtype, ops::part_shape(type.shape, *cut, parts_));
      list.push_back(out_.add_value(std::move(type)));
      out_.inputs.push_back({input.kind, input.name, list.back(), part});
    }
  }

  void add_data() {
    for (const auto& [id, data] : from_.constants) out_.constants.emplace(forms(id).whole, data);
    for (const auto& [id, data] : from_.externals) out_.externals.emplace(forms(id).whole, data);
  }

  Node convert(const char* op, std::vector<graph::Argument> arguments, TensorType type, int part) {
    Node node;
    node.op = op;
    node.arguments = std::move(arguments);
    node.results = {out_.add_value(std::move(type))};
    node.phase = phase_;
    node.scope = scope_;
    node.call = call_;
    node.part = part;
    return node;
  }
  ValueId add(Node node) {
    out_.nodes.push_back(std::move(node));
    return out_.nodes.back().results[0];
  }

  static TensorType dense(const TensorType& type) { return graph::contiguous_type(type.dtype, type.shape); }

  // --- The value in the form that is asked for, converted by way of its home where it is none of those at
  // hand ---

  ValueId whole(ValueId id) {
    Forms& have = forms(id);
    if (have.whole != kNoValue) return have.whole;
    const bool is_view = view_of_.contains(id);
    if (!is_view || !by_memory_.contains(id)) go_home(id);
    if (have.whole == kNoValue && is_view) return view_whole(id);
    if (have.whole == kNoValue) {
      const auto& [cut, list] = *have.cuts.begin();
      have.whole = as_captured(id, add(convert("shoal::join_parts",
                                               {TensorList{list}, int64_t{cut.first}, cut.second},
                                               dense(from_.type(id)), kWhole)));
    }
    return have.whole;
  }

  // A whole value lies in memory as in the undivided graph: some operators depend on that (as_strided, one
  // that takes contiguous tensors only), and kernels choose by it.
  ValueId as_captured(ValueId id, ValueId dense_whole) {
    const TensorType type = from_.type(id);
    if (type == dense(type)) return dense_whole;
    return add(convert("shoal::restride", {Tensor{dense_whole}, type.strides}, type, kWhole));
  }

  // A view of parts, wanted whole, is a view of the whole.
  ValueId view_whole(ValueId id) {
    Node copy = *view_of_.at(id);
    graph::for_each_input(copy, [&](ValueId& input) { input = whole(input); });
    for (ValueId& result : copy.results) {
      if (result == kNoValue) continue;
      const ValueId seen = out_.add_value(from_.type(result));
      forms(result).whole = seen;
      result = seen;
    }
    out_.nodes.push_back(std::move(copy));
    return forms(id).whole;
  }

  const std::vector<ValueId>& parts(ValueId id, Cut cut) {
    Forms& have = forms(id);
    const std::pair key(cut.dim, cut.outer);
    if (const auto found = have.cuts.find(key); found != have.cuts.end()) return found->second;
    go_home(id);
    if (const auto found = have.cuts.find(key); found != have.cuts.end()) return found->second;
    const TensorType type = dense(part_type(from_.type(id), cut));
    std::vector<ValueId> list;
    if (have.whole == kNoValue && have.cuts.begin()->first.first == cut.dim)
      whole(id);  // the same dim, cut otherwise
    for (int64_t part = 0; part < parts_; ++part) {
      if (have.whole != kNoValue) {
        list.push_back(
            add(convert("shoal::cut_part", {Tensor{have.whole}, int64_t{cut.dim}, cut.outer, parts_, part},
                        type, static_cast<int>(part))));
      } else {
        const auto& [from, sources] = *have.cuts.begin();
        list.push_back(add(convert(
            "shoal::recut_part",
            {TensorList{sources}, int64_t{from.first}, from.second, int64_t{cut.dim}, cut.outer, part}, type,
            static_cast<int>(part))));
      }
    }
    return have.cuts[key] = std::move(list);
  }

  // Partial results are combined where the value lives: in parts when its home is cut, else whole.
  void go_home(ValueId id) {
    Forms& have = forms(id);
    if (have.partials.empty() || have.whole != kNoValue || !have.cuts.empty()) return;
    const TensorType& type = from_.type(id);
    const std::vector<int64_t> leaves(have.partials.size(), 1);
    const auto dtype = static_cast<int64_t>(type.dtype);
    const std::string kind = how(have.made.kind);
    const std::optional<Cut>& home = map_.homes[at(id)];
    if (!home) {
      have.whole = as_captured(id, add(convert("shoal::reduce_parts",
                                               {TensorList{have.partials}, leaves, kind, dtype}, dense(type),
                                               kWhole)));
      return;
    }
    std::vector<ValueId> list;
    for (int64_t part = 0; part < parts_; ++part)
      list.push_back(add(convert(
          "shoal::reduce_cut",
          {TensorList{have.partials}, leaves, kind, dtype, int64_t{home->dim}, home->outer, parts_, part},
          dense(part_type(type, *home)), static_cast<int>(part))));
    have.cuts[{home->dim, home->outer}] = std::move(list);
  }

  // --- Nodes ---

  void add_whole(const Node& node) {
    Node copy = node;
    graph::for_each_input(copy, [&](ValueId& id) { id = whole(id); });
    for (ValueId& id : copy.results) {
      if (id == kNoValue) continue;
      TensorType type = from_.type(id);
      id = forms(id).whole = out_.add_value(std::move(type));
    }
    if (copy.random >= 0) copy.random *= static_cast<int>(parts_);
    out_.nodes.push_back(std::move(copy));
  }

  void add_parts(const Node& node, const Division& division) {
    // What each part reads, before any of them: conversions come first.
    std::vector<std::vector<ValueId>> read;  // by input, then part
    size_t next = 0;
    graph::for_each_input(node, [&](ValueId id) {
      const Placement& placement = division.inputs[next++];
      if (placement.kind == Kind::kShard)
        read.push_back(parts(id, placement.cut));
      else if (placement.kind == Kind::kPartialSum)
        read.push_back(forms(id).partials);
      else
        read.emplace_back(static_cast<size_t>(parts_), whole(id));
    });
    for (size_t i = 0; i < node.results.size(); ++i) {
      if (node.results[i] == kNoValue) continue;
      Forms& made = forms(node.results[i]);
      made.made = division.outputs[i];
      if (division.outputs[i].kind == Kind::kShard) made.cuts[{made.made.cut.dim, made.made.cut.outer}] = {};
    }
    for (int part = 0; part < parts_; ++part) {
      Node copy = ops::local_node(from_, node, division, parts_, part);
      if (ops::regroups(copy.op)) copy.op = "aten::reshape";  // parts may lie as no view can regroup
      size_t input = 0;
      graph::for_each_input(copy, [&](ValueId& id) { id = read[input++][static_cast<size_t>(part)]; });
      for (size_t i = 0; i < copy.results.size(); ++i) {
        if (copy.results[i] == kNoValue) continue;
        copy.results[i] = add_result(node.results[i], division.outputs[i]);
      }
      copy.part = part;
      if (copy.random >= 0) copy.random = node.random * static_cast<int>(parts_) + part;
      out_.nodes.push_back(std::move(copy));
    }
  }

  ValueId add_result(ValueId id, const Placement& placement) {
    Forms& made = forms(id);
    if (placement.kind == Kind::kShard) {
      made.cuts.begin()->second.push_back(out_.add_value(part_type(from_.type(id), placement.cut)));
      return made.cuts.begin()->second.back();
    }
    made.partials.push_back(out_.add_value(from_.type(id)));
    return made.partials.back();
  }

  void add_gradient(const graph::Gradient& gradient) {
    const auto cut = out_.cuts.find(gradient.parameter);
    if (cut == out_.cuts.end()) {
      graph::Gradient made{gradient.parameter, {}};
      for (ValueId id : gradient.contributions) made.contributions.push_back(whole(id));
      out_.gradients.push_back(std::move(made));
      return;
    }
    for (int part = 0; part < parts_; ++part) {
      graph::Gradient made{gradient.parameter, {}, part};
      for (ValueId id : gradient.contributions)
        made.contributions.push_back(parts(id, cut->second)[static_cast<size_t>(part)]);
      out_.gradients.push_back(std::move(made));
    }
  }

  const Graph& from_;
  const CutMap& map_;
  const int64_t parts_;
  std::vector<Forms> forms_;                // by value of the undivided graph
  std::map<ValueId, const Node*> view_of_;  // the node that makes a value, where it is a view
  std::set<ValueId> by_memory_;             // that an operator reads by places in memory
  graph::Phase phase_ = graph::Phase::kForward;
  std::string scope_;
  int64_t call_ = 0;
  Graph out_;
};

}  // namespace

Graph divide(const Graph& graph, const CutMap& map) {
  return map.parts == 1 ? graph : Divider(graph, map).run();
}

}  // namespace shoal::numerics
