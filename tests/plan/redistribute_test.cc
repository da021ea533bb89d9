// Redistribution against the whole tensor: on random shapes, meshes and layouts, the sequence turns the
// shards of a random whole into the shards of the goal, sends what it says, and is the cheapest.
#include "plan/redistribute.h"

#include <random>
#include <stdexcept>

#include "base/text.h"
#include "plan/collectives_on_vectors.h"
#include "support/expect_error.h"

namespace shoal::plan {
namespace {

using Shape = std::vector<int64_t>;
constexpr int64_t kBytes = sizeof(float);

struct Sample {
  DeviceMesh mesh;
  Shape shape;
  TensorLayout from, to, between;

  std::string text() const {
    std::vector<std::string> sizes;
    for (const auto& axis : mesh.axes) sizes.push_back(cat(axis.name, "=", axis.size));
    return cat("shape ", join(shape, "x"), " on ", join(sizes, ","), ": ", print(from), " to ", print(to));
  }
};

class Draw {
 public:
  explicit Draw(unsigned seed) : random_(seed) {}

  int64_t whole(int64_t least, int64_t most) {
    return std::uniform_int_distribution<int64_t>(least, most)(random_);
  }

  Sample sample() {
    Sample s;
    const int64_t axes = whole(1, 3), dims = whole(1, 3);
    const Reduction reduction = static_cast<Reduction>(whole(0, 2));
    for (int64_t axis = 0; axis < axes; ++axis)
      s.mesh.axes.push_back({std::string(1, "abc"[axis]), whole(1, 4)});
    for (int64_t dim = 0; dim < dims; ++dim) s.shape.push_back(whole(0, 20) == 0 ? 0 : whole(1, 9));
    for (int64_t axis = 0; axis < axes; ++axis) {
      const Placement from = placement(dims, whole(0, 3) == 0, reduction);
      const bool is_partial = from.kind == Placement::Kind::kPartial;
      s.from.placements.push_back(from);
      s.between.placements.push_back(placement(dims, is_partial && whole(0, 1) == 0, reduction));
      s.to.placements.push_back(
          placement(dims, s.between.placements.back().kind == Placement::Kind::kPartial && whole(0, 1) == 0,
                    reduction));
    }
    return s;
  }

  /// The parts of `whole` on the devices. On partial axes the addends differ: integers, so that no sum is
  /// rounded.
  std::vector<Part> parts(const Sample& s, const Part& whole_tensor) {
    const std::vector<size_t> partial = partial_axes(s.from);
    std::vector<Part> parts;
    for (int64_t device = 0; device < s.mesh.devices(); ++device)
      parts.emplace_back(local_box(s.shape, s.mesh, s.from, device));
    // Devices that differ on other axes alone hold the same addend: one is drawn for each place on the
    // partial axes.
    int64_t terms = 1;
    for (const size_t axis : partial) terms *= s.mesh.axes[axis].size;
    std::vector<Part> term(terms, Part(whole_tensor.box));
    for_each_place(whole_tensor.box, [&](const auto& place) {
      const float value = whole_tensor.at(place);
      const int64_t chosen = whole(0, terms - 1);
      float rest = value;
      for (int64_t i = 0; i < terms; ++i) {
        if (i == chosen) continue;
        const float other = static_cast<float>(whole(0, 1000));
        switch (partial.empty() ? Reduction::kSum : s.from.placements[partial[0]].reduction) {
          case Reduction::kSum:
            term[i].at(place) = other - 300, rest -= other - 300;
            break;
          case Reduction::kMax:
            term[i].at(place) = value - other;
            break;
          case Reduction::kMin:
            term[i].at(place) = value + other;
            break;
        }
      }
      term[chosen].at(place) = rest;
    });
    for (int64_t device = 0; device < s.mesh.devices(); ++device) {
      int64_t index = 0;
      const Shape places = s.mesh.coordinates(device);
      for (const size_t axis : partial) index = index * s.mesh.axes[axis].size + places[axis];
      for_each_place(parts[device].box,
                     [&](const auto& place) { parts[device].at(place) = term[index].at(place); });
    }
    return parts;
  }

  static std::vector<size_t> partial_axes(const TensorLayout& layout) {
    std::vector<size_t> axes;
    for (size_t axis = 0; axis < layout.placements.size(); ++axis)
      if (layout.placements[axis].kind == Placement::Kind::kPartial) axes.push_back(axis);
    return axes;
  }

 private:
  Placement placement(int64_t dims, bool partial, Reduction reduction) {
    if (partial) return Placement::partial(reduction);
    const int64_t dim = whole(-1, dims - 1);
    return dim < 0 ? Placement::replicate() : Placement::shard(static_cast<int>(dim));
  }

  std::mt19937 random_;
};

int64_t total(const std::vector<Redistribution>& steps) {
  int64_t bytes = 0;
  for (const Redistribution& step : steps) bytes += step.bytes;
  return bytes;
}

/// What the devices hold stands for `whole`, laid out as `layout` says.
void expect_holds(const Sample& s, const TensorLayout& layout, const std::vector<Part>& parts,
                  const Part& whole) {
  const std::vector<size_t> partial = Draw::partial_axes(layout);
  for (int64_t device = 0; device < s.mesh.devices(); ++device) {
    ASSERT_EQ(parts[device].box, local_box(s.shape, s.mesh, layout, device)) << "device " << device;
    std::vector<int64_t> addends = {device};  // those that together are the value here
    for (const size_t axis : partial) {
      std::vector<int64_t> more;
      for (const int64_t peer : addends)
        for (const int64_t member : s.mesh.group(peer, axis)) more.push_back(member);
      addends = more;
    }
    for_each_place(parts[device].box, [&](const auto& place) {
      float value = parts[addends[0]].at(place);
      for (size_t i = 1; i < addends.size(); ++i)
        value = reduce(layout.placements[partial[0]].reduction, value, parts[addends[i]].at(place));
      ASSERT_EQ(value, whole.at(place)) << "device " << device << " at " << join(place, ",");
    });
  }
}

TEST(Redistribute, TurnsShardsOfAWholeIntoThoseOfTheGoal) {
  const unsigned seed = std::random_device{}();
  Draw draw(seed);
  for (int round = 0; round < 1500; ++round) {
    const Sample s = draw.sample();
    SCOPED_TRACE(cat("seed ", seed, ", round ", round, ": ", s.text()));
    std::vector<Range> all;
    for (const int64_t size : s.shape) all.push_back({0, size});
    Part whole(all);
    for (float& value : whole.values) value = static_cast<float>(draw.whole(-1000, 1000));

    Devices devices(s.shape, s.mesh, s.from, draw.parts(s, whole));
    ASSERT_NO_FATAL_FAILURE(expect_holds(s, s.from, devices.parts(), whole));
    for (const Redistribution& step : redistribute(s.shape, s.mesh, s.from, s.to, kBytes)) {
      EXPECT_GT(s.mesh.axes[step.axis].size, 1);
      EXPECT_EQ(devices.run(step) * kBytes, step.bytes) << print(step, s.mesh);
    }
    ASSERT_NO_FATAL_FAILURE(expect_holds(s, s.to, devices.parts(), whole));
    if (HasFailure()) return;
  }
}

// No detour over a third layout is cheaper.
TEST(Redistribute, NoDetourSaves) {
  const unsigned seed = std::random_device{}();
  Draw draw(seed);
  for (int round = 0; round < 1500; ++round) {
    const Sample s = draw.sample();
    const auto bytes = [&](const TensorLayout& from, const TensorLayout& to) {
      return total(redistribute(s.shape, s.mesh, from, to, kBytes));
    };
    ASSERT_LE(bytes(s.from, s.to), bytes(s.from, s.between) + bytes(s.between, s.to))
        << "seed " << seed << ": " << s.text() << " over " << print(s.between);
    ASSERT_EQ(bytes(s.from, s.from), 0);
  }
}

TEST(Redistribute, TheKnownCases) {
  const DeviceMesh one = {{{"tp", 4}}}, two = {{{"dp", 2}, {"tp", 2}}};
  const auto steps = [](const Shape& shape, const DeviceMesh& mesh, const char* from, const char* to) {
    std::vector<std::string> texts;
    for (const Redistribution& step :
         redistribute(shape, mesh, parse_tensor_layout(from, "from"), parse_tensor_layout(to, "to"), kBytes))
      texts.push_back(print(step, mesh));
    return join(texts, "; ");
  };
  EXPECT_EQ(steps({8, 4}, one, "R", "R"), "");
  EXPECT_EQ(steps({8, 4}, one, "R", "S1"), "slice tp: R -> S1, 0 bytes");
  EXPECT_EQ(steps({8, 4}, one, "S0", "R"), "all_gather tp: S0 -> R, 384 bytes");   // 3 x 32 floats
  EXPECT_EQ(steps({8, 4}, one, "S0", "S1"), "all_to_all tp: S0 -> S1, 96 bytes");  // 3/4 of 32 floats
  EXPECT_EQ(steps({8, 4}, one, "P(sum)", "S0"), "reduce_scatter tp: P(sum) -> S0, 384 bytes");
  EXPECT_EQ(steps({8, 4}, one, "P(max)", "R"), "all_reduce tp: P(max) -> R, 768 bytes");
  EXPECT_EQ(steps({7, 1}, one, "S0", "S1"),
            "all_to_all tp: S0 -> S1, 20 bytes");  // all but 2 rows go to one device
  // The reduce_scatter comes first, for it leaves less to the all_reduce.
  EXPECT_EQ(steps({8, 4}, two, "P(sum),P(sum)", "S0,R"),
            "reduce_scatter dp: P(sum) -> S0, 256 bytes; all_reduce tp: P(sum) -> R, 256 bytes");
  // The later axis makes way for the earlier one, by the cheapest way and back.
  EXPECT_EQ(steps({8, 4}, two, "S0,S0", "R,S0"),
            "all_to_all tp: S0 -> S1, 64 bytes; all_gather dp: S0 -> R, 128 bytes; all_to_all tp: S1 -> S0, "
            "128 bytes");
}

TEST(Redistribute, NothingIsMadePartial) {
  const DeviceMesh mesh = {{{"dp", 1}, {"tp", 2}}};
  const auto from_to = [&](const char* from, const char* to) {
    return redistribute({4}, mesh, parse_tensor_layout(from, "from"), parse_tensor_layout(to, "to"), kBytes);
  };
  EXPECT_TRUE(from_to("R,S0", "P(sum),S0").empty());  // on one device all are the same
  EXPECT_TRUE(from_to("R,P(max)", "R,P(max)").empty());
  const std::string why = ", want a goal that a collective can reach; only computing makes a tensor partial";
  EXPECT_ERROR(from_to("R,R", "R,P(sum)"), std::logic_error,
               cat("redistribute - axis tp: got R -> P(sum)", why));
  EXPECT_ERROR(from_to("R,P(sum)", "R,P(max)"), std::logic_error,
               cat("redistribute - axis tp: got P(sum) -> P(max)", why));
  EXPECT_ERROR(from_to("R,R", "R,S1"), std::logic_error, "layout R,S1 - dim: got 1, want one of 1");
}

}  // namespace
}  // namespace shoal::plan
