#include <algorithm>
#include <unordered_map>

#include "base/text.h"
#include "graph/passes.h"
#include "shoal/error.h"

namespace shoal::graph {
namespace {

// Which values the given ones are computed from, themselves included.
std::vector<bool> read_by(const Graph& graph, const std::vector<ValueId>& ids) {
  std::vector<bool> read(graph.values.size(), false);
  for (ValueId id : ids) read[static_cast<size_t>(id)] = true;
  const auto is_read = [&](ValueId id) { return id != kNoValue && read[static_cast<size_t>(id)]; };
  for (auto node = graph.nodes.rbegin(); node != graph.nodes.rend(); ++node)
    if (std::any_of(node->results.begin(), node->results.end(), is_read))
      for_each_input(*node, [&](ValueId id) { read[static_cast<size_t>(id)] = true; });
  return read;
}

// Copies into the update graph what it needs of the microbatch's graph.
class UpdateBuilder {
 public:
  explicit UpdateBuilder(const Graph& graph) : graph_(graph) {
    for (const Input& input : graph.inputs) inputs_[input.value] = &input;
  }

  void add_buffer(const std::string& name, ValueId id) { define_input(InputKind::kBuffer, name, id); }

  // A value of the update graph: computed there, a buffer, a constant; else the microbatch's, observed.
  ValueId use(ValueId id) {
    if (const auto known = ids_.find(id); known != ids_.end()) return known->second;
    const auto input = inputs_.find(id);
    const InputKind kind = input == inputs_.end() ? InputKind::kBatch : input->second->kind;
    if (kind == InputKind::kBuffer) return define_input(kind, input->second->name, id);
    if (kind == InputKind::kConstant) {
      const ValueId copy = define_input(kind, input->second->name, id);
      if (graph_.constants.contains(id)) update.constants.emplace(copy, graph_.constants.at(id));
      return copy;
    }
    observed.push_back(id);
    return define_input(InputKind::kBatch, std::to_string(observed.size() - 1), id);
  }

  void add(Node node) {
    for_each_input(node, [&](ValueId& id) { id = use(id); });
    for (ValueId& id : node.results)
      if (id != kNoValue) id = ids_[id] = update.add_value(graph_.type(id));
    update.nodes.push_back(std::move(node));
  }

  Graph update;
  std::vector<ValueId> observed;

 private:
  ValueId define_input(InputKind kind, const std::string& name, ValueId id) {
    const ValueId copy = update.add_value(graph_.type(id));
    update.inputs.push_back({kind, name, copy});
    return ids_[id] = copy;
  }

  const Graph& graph_;
  std::unordered_map<ValueId, const Input*> inputs_;
  std::unordered_map<ValueId, ValueId> ids_;  // the microbatch's value -> the update's
};

}  // namespace

Graph split_buffer_updates(Graph graph, const std::vector<ChangedBuffer>& changed) {
  if (changed.empty()) return graph;
  const std::vector<bool> live = read_by(graph, outputs(graph));
  std::vector<ValueId> after;
  std::vector<bool> from_old(graph.values.size(), false);
  for (const ChangedBuffer& buffer : changed) {
    if (live[static_cast<size_t>(buffer.before)])
      throw InputError(
          cat("capture - buffer ", buffer.name,
              ": forward changes it, and what it computes depends on the value before, so that no "
              "microbatch could begin before the last one ended; let only the buffer's own new "
              "value depend on it"));
    after.push_back(buffer.after);
    from_old[static_cast<size_t>(buffer.before)] = true;
  }

  UpdateBuilder builder(graph);
  for (const ChangedBuffer& buffer : changed) builder.add_buffer(buffer.name, buffer.before);
  const std::vector<bool> wanted = read_by(graph, after);
  for (const Node& node : graph.nodes) {
    bool reads_old = false;
    for_each_input(node, [&](ValueId id) { reads_old |= from_old[static_cast<size_t>(id)]; });
    if (!reads_old) continue;
    bool is_wanted = false;
    for (ValueId id : node.results) {
      if (id == kNoValue) continue;
      from_old[static_cast<size_t>(id)] = true;
      is_wanted |= wanted[static_cast<size_t>(id)];
    }
    if (!is_wanted) continue;
    if (node.random >= 0)
      throw InputError(cat("capture - operator ", node.op,
                           ": a buffer's new value depends on its random numbers; keep them out of it"));
    builder.add(node);
  }
  for (const ChangedBuffer& buffer : changed) {
    graph.buffer_update.buffers.push_back(buffer.name);
    builder.update.results.push_back(builder.use(buffer.after));
  }
  graph.buffer_update.observed = std::move(builder.observed);
  graph.buffer_update.update = std::make_shared<Graph>(std::move(builder.update));
  return graph;
}

}  // namespace shoal::graph
