#include "lower/segments.h"

#include <algorithm>
#include <set>
#include <utility>

#include "base/text.h"
#include "graph/operator.h"
#include "lower/fetch_weights.h"
#include "lower/stage_graph.h"

namespace shoal::lower {
namespace {

using graph::at;
using graph::Graph;
using graph::kNoValue;
using graph::Node;
using graph::ValueId;

constexpr size_t kNever = static_cast<size_t>(-1);

bool is_transfer(const Node& node) { return is_send(node) || is_receive(node); }
// Their results lie in peers' memory.
bool is_from_peers(const Node& node) { return is_exchange(node) || is_receive(node); }

class Cutter {
 public:
  Cutter(const LocalGraph& local, std::vector<Bucket> buckets, Program& program)
      : Cutter(local, local.graph, std::move(buckets), program) {}

  std::vector<std::vector<Action>> run() {
    if (local_.blocks.empty()) {
      run({0, std::ssize(graph_.nodes)});
      return {std::move(actions_)};
    }
    std::vector<std::vector<Action>> all;
    for (const StageBlock& block : local_.blocks) {
      const auto before = std::ssize(program_.segments);
      run(block.nodes);
      BlockOperands& operands = program_.blocks.emplace_back(BlockOperands{block.stage, {}, 0});
      for (auto s = before; s < std::ssize(program_.segments); ++s) operands.segments.push_back(static_cast<int>(s));
      operands.held_bytes = live_bytes_;
      all.push_back(std::exchange(actions_, {}));
    }
    return all;
  }

 private:
  Cutter(const LocalGraph& local, const Graph& graph, std::vector<Bucket> buckets, Program& program)
      : local_(local),
        graph_(graph),
        program_(program),
        inputs_(graph.values.size(), nullptr),
        made_by_(graph.values.size(), kNever),
        last_use_(graph.values.size(), 0),
        memory_of_(graph.values.size()),
        memory_uses_(graph.values.size(), 0) {
    program_.buckets = std::move(buckets);
    for (const graph::Input& input : graph.inputs) inputs_[at(input.value)] = &input;
    for (size_t n = 0; n < graph.nodes.size(); ++n) {
      for (const ValueId id : graph.nodes[n].results)
        if (id != kNoValue) made_by_[at(id)] = last_use_[at(id)] = n;
      graph::for_each_input(graph.nodes[n], [&](ValueId id) { last_use_[at(id)] = n; });
    }
    find_outputs();
    find_memory();
  }

  void run(Range nodes) {
    const auto end = static_cast<size_t>(nodes.end);
    auto begin = static_cast<size_t>(nodes.begin);
    if (begin == 0) fill_buckets(kNever);  // of gradients that are inputs
    for (size_t n = begin; n < end; ++n) {
      const Node& node = graph_.nodes[n];
      if (is_exchange(node) || is_fetch(node) || is_transfer(node)) {
        close_segment(begin, n);
        begin = n + 1;
        is_exchange(node) ? add_exchange(n) : is_fetch(node) ? add_fetch(n) : add_transfer(n);
      } else {
        enter(n);
        peak_ = std::max(peak_, live_bytes_);
        if (fills_.contains(n)) {
          close_segment(begin, n + 1);
          begin = n + 1;
        }
      }
      fill_buckets(n);
      leave(n);
    }
    close_segment(begin, end);
  }

  bool is_made(ValueId id) const { return inputs_[at(id)] == nullptr; }

  // Where each output goes: the loss, a contribution to a gradient, what buffer updates observe. With buckets
  // a contribution lives until the last bucket with some of it is full.
  void find_outputs() {
    const std::vector<ValueId> outputs = graph::outputs(graph_);
    const size_t first = graph_.results.size();
    size_t count = 0;
    for (const graph::Gradient& gradient : graph_.gradients)
      count += static_cast<size_t>(std::ranges::count_if(gradient.contributions, [](ValueId id) { return id != kNoValue; }));
    for (size_t i = 0; i < outputs.size(); ++i) {
      const Output output{i < first           ? Output::Kind::kResult
                          : i < first + count ? Output::Kind::kGradient
                                              : Output::Kind::kObserved,
                          static_cast<int>(i - (i < first ? 0 : first))};
      outputs_[outputs[i]].push_back(output);
    }
    // In the order of the buckets the nodes after which they are full do not go back.
    std::map<ValueId, BucketItem*> last;
    for (size_t b = 0; b < program_.buckets.size(); ++b) {
      size_t full = kNever;
      for (BucketItem& item : program_.buckets[b]) {
        item.value = outputs.at(first + item.contribution);
        last[item.value] = &item;
        if (is_made(item.value))
          full = full == kNever ? made_by_[at(item.value)] : std::max(full, made_by_[at(item.value)]);
      }
      fills_[full].push_back(static_cast<int>(b));
      for (const BucketItem& item : program_.buckets[b])
        if (is_made(item.value)) last_use_[at(item.value)] = std::max(last_use_[at(item.value)], full);
    }
    for (const auto& [value, item] : last) item->drops = is_made(value) && filled_at(last_use_[at(value)], value);
  }

  // Views have the memory of what they look at.
  void find_memory() {
    for (size_t id = 0; id < memory_of_.size(); ++id) memory_of_[id] = static_cast<ValueId>(id);
    for (const Node& node : graph_.nodes) {
      if (is_exchange(node) || is_fetch(node) || is_transfer(node)) continue;
      const ValueId from = graph::memory_source(node);
      for (const ValueId id : node.results)
        if (id != kNoValue && from != kNoValue) memory_of_[at(id)] = memory_of_[at(from)];
    }
  }
  // Peers' memory and the module's is no memory of the frame.
  bool has_bytes(ValueId memory) const {
    return is_made(memory) && !is_from_peers(graph_.nodes[made_by_[at(memory)]]);
  }
  void enter(size_t n) {
    for (const ValueId id : graph_.nodes[n].results) {
      if (id == kNoValue) continue;
      const ValueId memory = memory_of_[at(id)];
      if (memory_uses_[at(memory)]++ == 0 && has_bytes(memory)) live_bytes_ += align_up(graph_.type(memory).bytes());
    }
  }
  void leave(size_t n) {
    std::set<ValueId> gone;
    const auto look = [&](ValueId id) {
      if (id != kNoValue && is_made(id) && last_use_[at(id)] == n) gone.insert(id);
    };
    graph::for_each_input(graph_.nodes[n], look);
    for (const ValueId id : graph_.nodes[n].results) look(id);
    if (const auto filled = fills_.find(n); filled != fills_.end())
      for (const int b : filled->second)
        for (const BucketItem& item : program_.buckets[static_cast<size_t>(b)]) look(item.value);
    for (const ValueId id : gone) {
      const ValueId memory = memory_of_[at(id)];
      if (--memory_uses_[at(memory)] == 0 && has_bytes(memory)) live_bytes_ -= align_up(graph_.type(memory).bytes());
    }
  }

  void note(ValueId id) { program_.values[id] = graph_.type(id); }
  void close_segment(size_t begin, size_t end) {
    const bool delivers_inputs =
        end == graph_.nodes.size() && program_.segments.empty() && has_input_outputs();
    const bool delivers_last = end == graph_.nodes.size() && !undelivered_.empty();
    if (begin == end && !delivers_inputs && !delivers_last) return;
    Segment segment{.nodes = {static_cast<int64_t>(begin), static_cast<int64_t>(end)}};
    const auto inside = [&](size_t n) { return n != kNever && begin <= n && n < end; };
    std::set<ValueId> seen, read;
    const auto deliver = [&](ValueId id) {
      const auto found = outputs_.find(id);
      if (found == outputs_.end()) return;
      for (const Output& output : found->second) {
        if (output.kind == Output::Kind::kResult) segment.makes_loss = true;
        if (output.kind == Output::Kind::kObserved) segment.observes = true;
        if (output.kind == Output::Kind::kGradient && program_.buckets.empty())
          segment.gradients.push_back(output.index);
      }
    };
    if (program_.segments.empty())
      for (const graph::Input& input : graph_.inputs) deliver(input.value);
    for (const ValueId id : std::exchange(undelivered_, {})) deliver(id);
    for (size_t n = begin; n < end; ++n) {
      graph::for_each_input(graph_.nodes[n], [&](ValueId id) {
        if (inside(made_by_[at(id)]) || !seen.insert(id).second) return;
        const graph::Input* const input = inputs_[at(id)];
        if (input && input->kind == graph::InputKind::kParameter)
          segment.parameters.push_back(input->part == graph::kWhole ? input->name
                                                                    : cat(input->name, "#", input->part));
        else if (!input || input->kind == graph::InputKind::kBatch)
          read.insert(id);
      });
      for (const ValueId id : graph_.nodes[n].results) {
        if (id == kNoValue) continue;
        deliver(id);
        if (last_use_[at(id)] >= end || filled_at(last_use_[at(id)], id)) segment.writes.push_back(id);
      }
    }
    for (const ValueId id : read) {
      segment.reads.push_back(id);
      if (is_made(id) && inside(last_use_[at(id)]) && !filled_at(last_use_[at(id)], id))
        segment.drops.push_back(id);
    }
    for (const auto* list : {&segment.reads, &segment.writes})
      for (const ValueId id : *list) note(id);
    segment.peak_bytes = std::max(peak_, live_bytes_);
    peak_ = live_bytes_;
    actions_.push_back(RunSegment{static_cast<int>(program_.segments.size())});
    program_.segments.push_back(std::move(segment));
  }
  bool has_input_outputs() const {
    return std::ranges::any_of(graph_.inputs,
                               [&](const graph::Input& input) { return outputs_.contains(input.value); });
  }
  // Whether a bucket that is full after node `n` takes of the value.
  bool filled_at(size_t n, ValueId id) const {
    const auto filled = fills_.find(n);
    return filled != fills_.end() && std::ranges::any_of(filled->second, [&](int b) {
             return std::ranges::any_of(program_.buckets[static_cast<size_t>(b)],
                                        [&](const BucketItem& item) { return item.value == id; });
           });
  }

  void add_exchange(size_t n) {
    const Node& node = graph_.nodes[n];
    enter(n);
    ExchangeOperands exchange{.node = n};
    for (const ValueId id : std::get<graph::TensorList>(node.arguments[0]).ids) {
      exchange.shows.push_back(id);
      exchange.bytes += align_up(graph_.type(id).bytes());
    }
    for (const ValueId id : node.results) {
      if (id == kNoValue) continue;
      exchange.receives.push_back(id);
      undelivered_.push_back(id);
    }
    for (const auto* list : {&exchange.shows, &exchange.receives}) {
      for (const ValueId id : *list) {
        note(id);
        if (is_made(id) && last_use_[at(id)] == n && std::ranges::find(exchange.drops, id) == exchange.drops.end())
          exchange.drops.push_back(id);
      }
    }
    actions_.push_back(RunExchange{static_cast<int>(program_.exchanges.size())});
    program_.exchanges.push_back(std::move(exchange));
  }

  void add_fetch(size_t n) {
    const Node& node = graph_.nodes[n];
    enter(n);
    peak_ = std::max(peak_, live_bytes_);
    note(node.results[0]);
    undelivered_.push_back(node.results[0]);
    actions_.push_back(RunFetch{static_cast<int>(program_.fetches.size())});
    program_.fetches.push_back({n, static_cast<int>(std::get<int64_t>(node.arguments[0])), node.results[0]});
  }

  void add_transfer(size_t n) {
    const Node& node = graph_.nodes[n];
    enter(n);
    const Transfer& transfer = local_.transfers.at(static_cast<size_t>(std::get<int64_t>(node.arguments[0])));
    std::vector<ValueId> drops;
    for (const ValueId id : transfer.values) {
      note(id);
      if (!transfer.sends) undelivered_.push_back(id);
      if (last_use_[at(id)] == n) drops.push_back(id);
    }
    actions_.push_back(RunTransfer{static_cast<int>(program_.transfers.size())});
    program_.transfers.push_back({.node = n,
                                  .number = transfer.number,
                                  .sends = transfer.sends,
                                  .peer = transfer.peer,
                                  .values = transfer.values,
                                  .drops = std::move(drops),
                                  .bytes = transfer.bytes});
  }

  void fill_buckets(size_t n) {
    const auto filled = fills_.find(n);
    if (filled == fills_.end()) return;
    for (const int bucket : filled->second) {
      actions_.push_back(FillBucket{bucket});
      for (const BucketItem& item : program_.buckets[static_cast<size_t>(bucket)]) note(item.value);
    }
  }

  struct Output {
    enum class Kind { kResult, kGradient, kObserved };
    Kind kind;
    int index;
  };

  const LocalGraph& local_;
  const Graph& graph_;
  Program& program_;
  std::vector<const graph::Input*> inputs_;  // by value; null for what a node makes
  std::vector<size_t> made_by_, last_use_;   // by value: nodes
  std::map<ValueId, std::vector<Output>> outputs_;
  std::vector<ValueId> undelivered_;  // came from others; the next segment delivers what of it leaves the graph
  std::map<size_t, std::vector<int>> fills_;  // buckets, by the node after which they are full
  std::vector<ValueId> memory_of_;  // by value: the value whose memory it has
  std::vector<int> memory_uses_;    // by value: of those there now, how many have its memory
  int64_t live_bytes_ = 0, peak_ = 0;
  std::vector<Action> actions_;
};

}  // namespace

std::vector<std::vector<Action>> cut_segments(const LocalGraph& local, std::vector<Bucket> buckets, Program& program) {
  return Cutter(local, std::move(buckets), program).run();
}

}  // namespace shoal::lower
