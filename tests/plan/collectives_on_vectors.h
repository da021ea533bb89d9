// A redistribution carried out on vectors of floats, one per device: what devices hold, what they hand to
// each other, and how much of it. Devices talk only within the groups of the step's axis.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "plan/redistribute.h"

namespace shoal::plan {

/// A part of a tensor, row-major.
struct Part {
  std::vector<Range> box;
  std::vector<float> values;

  explicit Part(std::vector<Range> where, float fill = 0) : box(std::move(where)) {
    size_t count = 1;
    for (const Range& range : box) count *= static_cast<size_t>(range.size());
    values.assign(count, fill);
  }
  /// The value at a place of the whole tensor. REQUIRES: it lies in the box.
  float& at(const std::vector<int64_t>& place) { return values.at(offset(place)); }
  float at(const std::vector<int64_t>& place) const { return values.at(offset(place)); }

 private:
  size_t offset(const std::vector<int64_t>& place) const {
    int64_t index = 0;
    for (size_t dim = 0; dim < box.size(); ++dim)
      index = index * box[dim].size() + place[dim] - box[dim].begin;
    return static_cast<size_t>(index);
  }
};

/// Calls visit(place) for each place of a box; returns how many.
template <class Visit>
int64_t for_each_place(const std::vector<Range>& box, Visit visit) {
  for (const Range& range : box)
    if (range.empty()) return 0;
  std::vector<int64_t> place;
  for (const Range& range : box) place.push_back(range.begin);
  for (int64_t count = 1;; ++count) {
    visit(place);
    size_t dim = box.size();
    while (dim > 0 && ++place[dim - 1] == box[dim - 1].end) place[dim - 1] = box[dim - 1].begin, --dim;
    if (dim == 0) return count;
  }
}

inline std::vector<Range> common_box(const std::vector<Range>& a, const std::vector<Range>& b) {
  std::vector<Range> box;
  for (size_t dim = 0; dim < a.size(); ++dim) box.push_back(intersect(a[dim], b[dim]));
  return box;
}

inline float reduce(Reduction reduction, float a, float b) {
  return reduction == Reduction::kSum   ? a + b
         : reduction == Reduction::kMax ? std::max(a, b)
                                        : std::min(a, b);
}

class Devices {
 public:
  Devices(std::vector<int64_t> shape, DeviceMesh mesh, TensorLayout layout, std::vector<Part> parts)
      : shape_(std::move(shape)),
        mesh_(std::move(mesh)),
        layout_(std::move(layout)),
        parts_(std::move(parts)) {}

  const std::vector<Part>& parts() const { return parts_; }

  /// Returns the floats that the devices sent.
  int64_t run(const Redistribution& step) {
    EXPECT_EQ(layout_.placements[step.axis], step.from);
    sent_ = 0;
    TensorLayout after = layout_;
    after.placements[step.axis] = step.to;
    std::vector<Part> next;
    for (int64_t device = 0; device < mesh_.devices(); ++device) {
      next.emplace_back(local_box(shape_, mesh_, after, device), kUnset);
      const std::vector<int64_t> group = mesh_.group(device, step.axis);
      switch (step.collective) {
        case Collective::kSlice:
          copy(device, device, next.back());
          break;
        case Collective::kAllGather:
        case Collective::kAllToAll:
          for (const int64_t peer : group) copy(peer, device, next.back());
          break;
        case Collective::kReduceScatter:
          reduce_all(group, device, step.from.reduction, next.back());
          break;
        case Collective::kAllReduce:
          reduce_all(group, device, step.from.reduction, next.back());
          // Counted as it is done: each reduces its share, then all gather the shares.
          sent_ -= static_cast<int64_t>(next.back().values.size() * (group.size() - 1));
          const Range mine =
              share(static_cast<int64_t>(next.back().values.size()), static_cast<int64_t>(group.size()),
                    std::ranges::find(group, device) - group.begin());
          sent_ += 2 * mine.size() * static_cast<int64_t>(group.size() - 1);
          break;
      }
      for (const float value : next.back().values)
        EXPECT_FALSE(std::isnan(value)) << "a place that nobody sent";
    }
    parts_ = std::move(next);
    layout_ = after;
    return sent_;
  }

 private:
  static constexpr float kUnset = std::numeric_limits<float>::quiet_NaN();

  void copy(int64_t from, int64_t to, Part& part) {
    const int64_t count = for_each_place(common_box(parts_[from].box, part.box), [&](const auto& place) {
      EXPECT_TRUE(std::isnan(part.at(place))) << "a place that two sent";
      part.at(place) = parts_[from].at(place);
    });
    if (from != to) sent_ += count;
  }

  void reduce_all(const std::vector<int64_t>& group, int64_t to, Reduction reduction, Part& part) {
    for (const int64_t peer : group) {
      const int64_t count = for_each_place(part.box, [&](const auto& place) {
        float& value = part.at(place);
        value = std::isnan(value) ? parts_[peer].at(place) : reduce(reduction, value, parts_[peer].at(place));
      });
      if (peer != to) sent_ += count;
    }
  }

  const std::vector<int64_t> shape_;
  const DeviceMesh mesh_;
  TensorLayout layout_;
  std::vector<Part> parts_;
  int64_t sent_ = 0;
};

}  // namespace shoal::plan
