#include "lower/graph_calls.h"

#include <algorithm>
#include <set>

#include "graph/operator.h"

namespace shoal::lower {

using graph::Graph;
using graph::kNoNode;
using graph::kNoValue;
using graph::Node;
using graph::Phase;
using graph::ValueId;

namespace {

bool is_of_libtorch(const Node& node) { return !node.op.starts_with("shoal::"); }

}  // namespace

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

ParameterValues::ParameterValues(const Graph& graph) : looks(graph.nodes.size(), false) {
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

std::map<std::string, size_t> first_reads(const Graph& graph, const ParameterValues& parameters) {
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

}  // namespace shoal::lower
