#include "lower/stage_graph.h"

#include <algorithm>
#include <map>
#include <set>

namespace shoal::lower {
namespace {

using graph::Graph;
using graph::kNoValue;
using graph::Node;
using graph::ValueId;
using Work = Stages::Work;

class StageCutter {
 public:
  StageCutter(LocalGraph local, const Stages& stages, const std::vector<int>& blocks,
              const std::vector<std::vector<int>>& orders, int pp)
      : stages_(stages), orders_(orders), pp_(pp), out_(std::move(local)), nodes_(std::move(out_.graph.nodes)) {
    for (const size_t origin : out_.origins) blocks_.push_back(blocks[origin]);
    for (size_t device = 0; device < orders.size(); ++device)
      for (size_t i = 0; i < orders[device].size(); ++i)
        steps_[orders[device][i]] = {static_cast<int>(device), static_cast<int>(i)};
    made_in_.assign(out_.graph.values.size(), kNowhere);
    for (size_t n = 0; n < nodes_.size(); ++n)
      for (const ValueId id : nodes_[n].results)
        if (id != kNoValue) made_in_[static_cast<size_t>(id)] = blocks_[n];
  }

  LocalGraph run() {
    find_transfers();
    out_.graph.nodes.clear();
    out_.origins.clear();
    out_.blocks.clear();
    for (const int block : orders_[static_cast<size_t>(pp_)]) add_block(block);
    drop_outputs();
    return std::move(out_);
  }

 private:
  static constexpr int kNowhere = -1;

  int device_of(int block) const { return steps_.at(block).device; }
  int made_in(ValueId id) const { return made_in_[static_cast<size_t>(id)]; }

  // A value goes to each other device once, where the first block there needs it.
  void find_transfers() {
    std::map<std::pair<ValueId, int>, int> first;  // by value and device
    for (size_t n = 0; n < nodes_.size(); ++n) {
      const int device = device_of(blocks_[n]);
      graph::for_each_input(nodes_[n], [&](ValueId id) {
        if (made_in(id) == kNowhere || device_of(made_in(id)) == device) return;
        const auto [entry, is_new] = first.try_emplace({id, device}, blocks_[n]);
        if (!is_new && steps_.at(blocks_[n]).number < steps_.at(entry->second).number) entry->second = blocks_[n];
      });
    }
    std::map<std::pair<int, int>, std::vector<ValueId>> all;  // by the blocks that make and need it
    for (const auto& [key, block] : first) all[{made_in(key.first), block}].push_back(key.first);
    int next = 0;
    for (const auto& [blocks, values] : all) {
      const int number = next++;
      const int from = device_of(blocks.first), to = device_of(blocks.second);
      if (from != pp_ && to != pp_) continue;
      Transfer transfer{.number = number, .sends = from == pp_, .peer = from == pp_ ? to : from,
                        .made_in = stages_.place_of(blocks.first), .values = values};
      for (const ValueId id : values) {
        const graph::TensorType& type = out_.graph.type(id);
        transfer.bytes += Transfer::kHeadBytes + Transfer::room_for(type.shape, type.strides, type.dtype);
      }
      (transfer.sends ? sends_[blocks.first] : receives_[blocks.second]).push_back(out_.transfers.size());
      out_.transfers.push_back(std::move(transfer));
    }
  }

  void add_block(int block) {
    const auto begin = std::ssize(out_.graph.nodes);
    const auto [stage, work] = stages_.place_of(block);
    const graph::Phase phase = work == Work::kForward ? graph::Phase::kForward : graph::Phase::kBackward;
    for (const size_t transfer : receives_[block]) add_transfer("shoal::receive", transfer, phase);
    for (size_t n = 0; n < nodes_.size(); ++n)
      if (blocks_[n] == block) out_.graph.nodes.push_back(nodes_[n]);
    for (const size_t transfer : sends_[block]) add_transfer("shoal::send", transfer, phase);
    out_.blocks.push_back({stage, work, {begin, std::ssize(out_.graph.nodes)}});
  }
  void add_transfer(const char* op, size_t index, graph::Phase phase) {
    const Transfer& transfer = out_.transfers[index];
    Node node;
    node.op = op;
    node.phase = phase;
    node.arguments = {static_cast<int64_t>(index)};
    if (transfer.sends)
      node.arguments.push_back(graph::TensorList{transfer.values});
    else
      node.results = transfer.values;
    out_.graph.nodes.push_back(std::move(node));
  }

  // What leaves the graph elsewhere. What leaves it as it came in is left to the first device.
  void drop_outputs() {
    const auto is_here = [&](ValueId id) {
      return id != kNoValue && (made_in(id) == kNowhere ? pp_ == 0 : device_of(made_in(id)) == pp_);
    };
    Graph& graph = out_.graph;
    std::erase_if(graph.results, [&](ValueId id) { return !is_here(id); });
    for (graph::Gradient& gradient : graph.gradients)
      for (ValueId& id : gradient.contributions)
        if (!is_here(id)) id = kNoValue;
    std::erase_if(graph.gradients, [](const graph::Gradient& gradient) {
      return std::ranges::all_of(gradient.contributions, [](ValueId id) { return id == kNoValue; });
    });
    for (ValueId& id : graph.buffer_update.observed)
      if (!is_here(id)) id = kNoValue;
  }

  const Stages& stages_;
  const std::vector<std::vector<int>>& orders_;
  const int pp_;
  struct Step {
    int device, number;  // among the device's blocks
  };
  std::map<int, Step> steps_;  // by block
  LocalGraph out_;
  std::vector<Node> nodes_;
  std::vector<int> blocks_;   // by node
  std::vector<int> made_in_;  // by value: the block that makes it
  std::map<int, std::vector<size_t>> sends_, receives_;  // by block: of out_.transfers
};

}  // namespace

bool is_send(const Node& node) { return node.op == "shoal::send"; }
bool is_receive(const Node& node) { return node.op == "shoal::receive"; }

LocalGraph stage_graph(LocalGraph local, const Stages& stages, const std::vector<int>& blocks,
                       const std::vector<std::vector<int>>& orders, int pp) {
  return StageCutter(std::move(local), stages, blocks, orders, pp).run();
}

}  // namespace shoal::lower
