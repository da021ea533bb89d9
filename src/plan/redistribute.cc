// Dijkstra over layouts: an edge is one collective on one axis, its length (bytes, 1). Meshes have few axes
// and tensors few dims: at most a few thousand layouts.
#include "plan/redistribute.h"

#include <algorithm>
#include <map>
#include <optional>
#include <set>
#include <utility>

#include "base/fault.h"
#include "base/text.h"

namespace shoal::plan {
namespace {

using Kind = Placement::Kind;

int64_t elements(const std::vector<Range>& box) {
  int64_t count = 1;
  for (const Range& range : box) count *= range.size();
  return count;
}

int64_t common_elements(const std::vector<Range>& a, const std::vector<Range>& b) {
  int64_t count = 1;
  for (size_t dim = 0; dim < a.size(); ++dim) count *= std::max<int64_t>(0, intersect(a[dim], b[dim]).size());
  return count;
}

/// The collective that turns one placement into the other; none where there is no such.
std::optional<Collective> collective_between(const Placement& from, const Placement& to) {
  if (to.kind == Kind::kPartial || from == to) return std::nullopt;
  const bool shards = to.kind == Kind::kShard;
  switch (from.kind) {
    case Kind::kReplicate:
      return Collective::kSlice;
    case Kind::kShard:
      return shards ? Collective::kAllToAll : Collective::kAllGather;
    case Kind::kPartial:
      return shards ? Collective::kReduceScatter : Collective::kAllReduce;
  }
  return std::nullopt;
}

class Search {
 public:
  Search(const std::vector<int64_t>& shape, const DeviceMesh& mesh, int64_t element_bytes)
      : shape_(shape), mesh_(mesh), element_bytes_(element_bytes) {}

  std::vector<Redistribution> shortest(const TensorLayout& from, const TensorLayout& to) {
    using Length = std::pair<int64_t, int64_t>;  // bytes, steps
    struct Reached {
      Length length;
      TensorLayout before;
      std::optional<Redistribution> last;
    };
    std::map<TensorLayout, Reached> reached = {{from, {{0, 0}, from, std::nullopt}}};
    std::set<std::pair<Length, TensorLayout>> open = {{{0, 0}, from}};
    while (!open.empty()) {
      const auto [length, layout] = open.extract(open.begin()).value();
      if (layout == to) break;
      for (const Redistribution& step : steps(layout)) {
        TensorLayout next = layout;
        next.placements[step.axis] = step.to;
        const Length longer = {length.first + step.bytes, length.second + 1};
        const auto known = reached.find(next);
        if (known != reached.end() && known->second.length <= longer) continue;
        if (known != reached.end()) open.erase({known->second.length, next});
        reached.insert_or_assign(next, Reached{longer, layout, step});
        open.emplace(longer, std::move(next));
      }
    }
    std::vector<Redistribution> path;
    for (TensorLayout at = to; at != from;) {
      const Reached& arrival = reached.at(at);
      path.push_back(*arrival.last);
      at = arrival.before;
    }
    std::ranges::reverse(path);
    return path;
  }

 private:
  /// Whether a later axis shards the dim, so that the shares of this one are not whole ranges of it.
  bool is_covered(const TensorLayout& layout, size_t axis, const Placement& placement) const {
    if (placement.kind != Kind::kShard) return false;
    for (size_t later = axis + 1; later < layout.placements.size(); ++later)
      if (layout.placements[later] == placement) return true;
    return false;
  }

  std::vector<Redistribution> steps(const TensorLayout& layout) const {
    std::vector<Redistribution> found;
    for (size_t axis = 0; axis < layout.placements.size(); ++axis) {
      const Placement& from = layout.placements[axis];
      if (mesh_.axes[axis].size == 1 || is_covered(layout, axis, from)) continue;
      const auto add = [&](const Placement& to) {
        const std::optional<Collective> collective = collective_between(from, to);
        if (!collective || is_covered(layout, axis, to)) return;
        found.push_back({*collective, axis, from, to, bytes(*collective, layout, axis, to)});
      };
      add(Placement::replicate());
      for (int dim = 0; dim < static_cast<int>(shape_.size()); ++dim) add(Placement::shard(dim));
    }
    return found;
  }

  int64_t bytes(Collective collective, const TensorLayout& layout, size_t axis, const Placement& to) const {
    TensorLayout next = layout;
    next.placements[axis] = to;
    const int64_t peers = mesh_.axes[axis].size - 1;
    int64_t sent = 0;  // elements
    for (int64_t device = 0; device < mesh_.devices() && collective != Collective::kSlice; ++device) {
      const std::vector<Range> before = local_box(shape_, mesh_, layout, device),
                               after = local_box(shape_, mesh_, next, device);
      if (collective == Collective::kAllGather) sent += peers * elements(before);
      if (collective == Collective::kAllToAll) sent += elements(before) - common_elements(before, after);
      if (collective == Collective::kReduceScatter) sent += elements(before) - elements(after);
      // The shares of a group's devices are the whole: 2 (n - 1) wholes for a group, counted at its first
      // device.
      if (collective == Collective::kAllReduce && mesh_.coordinates(device)[axis] == 0)
        sent += 2 * peers * elements(before);
    }
    return sent * element_bytes_;
  }

  const std::vector<int64_t>& shape_;
  const DeviceMesh& mesh_;
  const int64_t element_bytes_;
};

/// On an axis of one device all placements are the same.
TensorLayout without_single_axes(const DeviceMesh& mesh, TensorLayout layout) {
  for (size_t axis = 0; axis < mesh.axes.size(); ++axis)
    if (mesh.axes[axis].size == 1) layout.placements[axis] = Placement::replicate();
  return layout;
}

}  // namespace

const char* collective_name(Collective collective) {
  static constexpr const char* kNames[] = {"slice", "all_gather", "all_to_all", "reduce_scatter",
                                           "all_reduce"};
  return kNames[static_cast<size_t>(collective)];
}

std::string print(const Redistribution& step, const DeviceMesh& mesh) {
  return cat(collective_name(step.collective), " ", mesh.axes[step.axis].name, ": ", print(step.from), " -> ",
             print(step.to), ", ", step.bytes, " bytes");
}

std::vector<Redistribution> redistribute(const std::vector<int64_t>& shape, const DeviceMesh& mesh,
                                         const TensorLayout& from, const TensorLayout& to,
                                         int64_t element_bytes) {
  check_tensor_layout(shape, mesh, from);
  check_tensor_layout(shape, mesh, to);
  const TensorLayout source = without_single_axes(mesh, from), goal = without_single_axes(mesh, to);
  for (size_t axis = 0; axis < mesh.axes.size(); ++axis)
    if (goal.placements[axis].kind == Kind::kPartial && goal.placements[axis] != source.placements[axis])
      throw BrokenInvariant(
          cat("redistribute - axis ", mesh.axes[axis].name, ": got ", print(source.placements[axis]), " -> ",
              print(goal.placements[axis]),
              ", want a goal that a collective can reach; only computing makes a tensor partial"));
  return Search(shape, mesh, element_bytes).shortest(source, goal);
}

}  // namespace shoal::plan
