#include "lower/local_graph.h"

#include <ATen/EmptyTensor.h>
#include <c10/util/accumulate.h>

#include <algorithm>
#include <map>
#include <numeric>
#include <set>

#include "comm/reduce.h"

namespace shoal::lower {
namespace {

using graph::Graph;
using graph::kWhole;
using graph::Node;
using graph::TensorList;
using graph::TensorType;
using graph::ValueId;

bool is_join(const Node& node) { return node.op == "shoal::join_parts" || node.op == "shoal::recut_part"; }
bool is_reduce(const Node& node) {
  return node.op == "shoal::reduce_parts" || node.op == "shoal::reduce_cut";
}

const std::vector<ValueId>& sources(const Node& node) { return std::get<TensorList>(node.arguments[0]).ids; }

class Localiser {
 public:
  Localiser(const Graph& from, int64_t tp, int rank, const std::vector<int>& blocks) : from_(from), blocks_(blocks) {
    out_.tp = tp;
    out_.rank = rank;
    Graph& graph = out_.graph;
    graph.values = from.values;
    graph.num_parts = from.num_parts;
    graph.cuts = from.cuts;
    graph.results = from.results;
    graph.constants = from.constants;
    graph.externals = from.externals;
    graph.buffer_update = from.buffer_update;
  }

  LocalGraph run() {
    for (const graph::Input& input : from_.inputs)
      if (mine(input.part)) out_.graph.inputs.push_back(input);
    for (const graph::Gradient& gradient : from_.gradients)
      if (mine(gradient.part)) out_.graph.gradients.push_back(gradient);
    const std::vector<Node>& nodes = from_.nodes;
    for (size_t n = 0; n < nodes.size();) {
      const size_t end = group_end(n);
      if (end > n) {
        add_group(n, end);
        n = end;
      } else {
        if (mine(nodes[n].part)) add(nodes[n], n);
        ++n;
      }
    }
    return std::move(out_);
  }

 private:
  void add(Node node, size_t origin) {
    out_.graph.nodes.push_back(std::move(node));
    out_.origins.push_back(origin);
  }

  Range held(int64_t rank) const { return parts_of(from_.num_parts, out_.tp, static_cast<int>(rank)); }
  bool mine(int part) const { return part == kWhole || held(out_.rank).contains({part, part + 1}); }

  // Operators on parts of several devices that stand next to each other and do not read each other share an
  // exchange.
  size_t group_end(size_t begin) const {
    std::set<ValueId> made;
    size_t end = begin;
    for (; end < from_.nodes.size(); ++end) {
      const Node& node = from_.nodes[end];
      if (!is_join(node) && !is_reduce(node)) break;
      if (!blocks_.empty() && blocks_[end] != blocks_[begin]) break;
      if (std::any_of(sources(node).begin(), sources(node).end(),
                      [&](ValueId id) { return made.contains(id); }))
        break;
      made.insert(node.results[0]);
    }
    return end;
  }

  // A list of values, one for each of some runs of parts, in order: what is known of it on each device.
  struct Pieces {
    std::vector<Range> runs;
    std::vector<ValueId> values;  // here: the device's own, then what was received
  };

  void add_group(size_t begin, size_t end) {
    // The same partial sums, or parts, are often read by several operators of a group (one for each part they
    // make).
    std::map<std::pair<ValueId, bool>, Pieces> all;
    Exchange exchange;
    exchange.shown.resize(static_cast<size_t>(out_.tp));
    std::vector<int64_t> offsets(static_cast<size_t>(out_.tp), 0);
    std::vector<ValueId> shown_here, received;
    for (size_t n = begin; n < end; ++n) {
      const Node& node = from_.nodes[n];
      const auto [entry, is_new] = all.try_emplace({sources(node)[0], is_reduce(node)});
      if (!is_new) continue;
      Pieces& pieces = entry->second;
      for (int64_t rank = 0; rank < out_.tp; ++rank) {
        for (const Range run : runs_of(node, rank)) {
          pieces.runs.push_back(run);
          const TensorType type = type_of(node, run);
          exchange.shown[static_cast<size_t>(rank)].push_back({offsets[static_cast<size_t>(rank)], type});
          offsets[static_cast<size_t>(rank)] += align_up(type.bytes());
          if (rank == out_.rank) {
            pieces.values.push_back(add_piece(n, run, type));
            shown_here.push_back(pieces.values.back());
          } else {
            pieces.values.push_back(out_.graph.add_value(type));
          }
        }
      }
    }
    // Results of the exchange: device by device, as shown.
    for (int64_t rank = 0; rank < out_.tp; ++rank) {
      if (rank == out_.rank) continue;
      for (size_t n = begin; n < end; ++n) {
        const auto entry = all.find({sources(from_.nodes[n])[0], is_reduce(from_.nodes[n])});
        if (!first_of_its_kind(n, begin)) continue;
        for (size_t i = 0; i < entry->second.runs.size(); ++i)
          if (held(rank).contains(entry->second.runs[i])) received.push_back(entry->second.values[i]);
      }
    }
    Node node;
    node.op = "shoal::exchange";
    node.arguments = {TensorList{shown_here}, static_cast<int64_t>(out_.exchanges.size())};
    node.results = received;
    node.phase = from_.nodes[begin].phase;
    node.scope = from_.nodes[begin].scope;
    node.call = from_.nodes[begin].call;
    add(std::move(node), begin);
    for (int64_t bytes : offsets) out_.half_bytes = std::max(out_.half_bytes, bytes);
    out_.exchanges.push_back(std::move(exchange));
    for (size_t n = begin; n < end; ++n)
      if (mine(from_.nodes[n].part))
        add_reader(n, all.at({sources(from_.nodes[n])[0], is_reduce(from_.nodes[n])}));
  }

  bool first_of_its_kind(size_t n, size_t begin) const {
    for (size_t other = begin; other < n; ++other)
      if (sources(from_.nodes[other])[0] == sources(from_.nodes[n])[0] &&
          is_reduce(from_.nodes[other]) == is_reduce(from_.nodes[n]))
        return false;
    return true;
  }

  // What a device shows of the sources of `node`: roots of its sums, or its parts one by one.
  std::vector<Range> runs_of(const Node& node, int64_t rank) const {
    if (is_reduce(node)) return comm::tree_roots(from_.num_parts, held(rank));
    std::vector<Range> runs;
    for (int64_t part = held(rank).begin; part < held(rank).end; ++part) runs.push_back({part, part + 1});
    return runs;
  }
  TensorType type_of(const Node& node, Range run) const {
    const TensorType& type = from_.type(sources(node)[static_cast<size_t>(run.begin)]);
    const bool widened = run.size() > 1 && type.dtype == c10::ScalarType::BFloat16;
    return graph::contiguous_type(widened ? c10::ScalarType::Float : type.dtype, type.shape);
  }
  ValueId add_piece(size_t reader, Range run, const TensorType& type) {
    const Node& node = from_.nodes[reader];
    const auto first = sources(node).begin() + run.begin;
    if (run.size() == 1) return *first;
    const std::vector<ValueId> leaves(first, first + run.size());
    Node sum;
    sum.op = "shoal::reduce_parts";
    sum.arguments = {TensorList{leaves}, std::vector<int64_t>(leaves.size(), 1), node.arguments[2],
                     static_cast<int64_t>(type.dtype)};
    sum.results = {out_.graph.add_value(type)};
    sum.phase = node.phase;
    sum.scope = node.scope;
    sum.call = node.call;
    add(sum, reader);
    return sum.results[0];
  }

  void add_reader(size_t reader, const Pieces& pieces) {
    Node node = from_.nodes[reader];
    std::get<TensorList>(node.arguments[0]).ids = pieces.values;
    if (is_reduce(node)) {
      std::vector<int64_t> leaves;
      for (const Range run : pieces.runs) leaves.push_back(run.size());
      node.arguments[1] = leaves;
    }
    const bool takes_a_part = node.op == "shoal::reduce_cut" || node.op == "shoal::recut_part";
    for (size_t i = 0; i < pieces.runs.size(); ++i) {
      if (held(out_.rank).contains(pieces.runs[i])) continue;
      const int64_t bytes = out_.graph.type(pieces.values[i]).bytes();
      out_.bytes_read += takes_a_part ? bytes / from_.num_parts : bytes;
    }
    add(std::move(node), reader);
  }

  const Graph& from_;
  const std::vector<int>& blocks_;
  LocalGraph out_;
};

}  // namespace

bool is_exchange(const Node& node) { return node.op == "shoal::exchange"; }

int64_t Transfer::room_for(at::IntArrayRef shape, at::IntArrayRef strides, c10::ScalarType dtype) {
  const size_t width = c10::elementSize(dtype);
  const auto reach = static_cast<int64_t>(at::detail::computeStorageNbytes(shape, strides, width));
  return align_up(std::max(reach, c10::multiply_integers(shape) * static_cast<int64_t>(width)));
}

Range parts_of(int64_t num_parts, int64_t tp, int rank) {
  const int64_t each = num_parts / tp;
  return {rank * each, (rank + 1) * each};
}

LocalGraph local_graph(const Graph& divided, int64_t tp, int rank, const std::vector<int>& blocks) {
  if (tp > 1) return Localiser(divided, tp, rank, blocks).run();
  LocalGraph alone;
  alone.graph = divided;
  alone.origins.resize(divided.nodes.size());
  std::iota(alone.origins.begin(), alone.origins.end(), size_t{0});
  return alone;
}

}  // namespace shoal::lower
