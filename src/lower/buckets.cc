#include "lower/buckets.h"

#include <algorithm>

namespace shoal::lower {
namespace {

// The graph's contributions in the order in which a frame delivers them: those that are inputs, then by
// node.
std::vector<size_t> delivery_order(const graph::Graph& graph) {
  std::map<graph::ValueId, std::vector<size_t>> by_value;
  size_t next = 0;
  for (const graph::Gradient& gradient : graph.gradients)
    for (graph::ValueId id : gradient.contributions)
      if (id != graph::kNoValue) by_value[id].push_back(next++);
  std::vector<size_t> order;
  const auto deliver = [&](graph::ValueId id) {
    if (const auto found = by_value.find(id); found != by_value.end())
      order.insert(order.end(), found->second.begin(), found->second.end());
  };
  for (const graph::Input& input : graph.inputs) deliver(input.value);
  for (const graph::Node& node : graph.nodes)
    for (graph::ValueId id : node.results) deliver(id);
  return order;
}

}  // namespace

int64_t bucket_bytes(const Storage& storage) {
  int64_t elements = 0;
  for (const Unit& unit : storage.units) elements += unit.numel;
  const int64_t blocks = std::clamp<int64_t>(elements / 256 / kBlockElements, 1, 16);
  return blocks * kBlockElements * static_cast<int64_t>(sizeof(float));
}

std::vector<Bucket> plan_buckets(const graph::Graph& graph, const Storage& storage) {
  const int64_t capacity = bucket_bytes(storage);
  const std::vector<Contribution> targets = contributions_of(graph, storage);
  std::vector<Bucket> buckets;
  int64_t used = capacity;
  for (size_t index : delivery_order(graph)) {
    const Contribution& target = targets[index];
    const Unit& unit = storage.units[target.unit];
    const auto width = static_cast<int64_t>(comm::element_bytes(unit.contributions[target.index]));
    for (int64_t begin = 0; begin < unit.numel;) {
      // As many blocks as there is room for, or the rest.
      const int64_t room = (capacity - used) / width;
      const int64_t fits =
          unit.numel - begin <= room ? unit.numel - begin : room / kBlockElements * kBlockElements;
      if (fits == 0) {
        buckets.emplace_back();
        used = 0;
        continue;
      }
      buckets.back().push_back({index, target, {begin, begin + fits}, used});
      used += align_up(fits * width);
      begin += fits;
    }
  }
  return buckets;
}

}  // namespace shoal::lower
