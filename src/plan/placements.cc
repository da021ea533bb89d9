#include "plan/placements.h"

#include <charconv>
#include <optional>

#include "base/fault.h"
#include "base/text.h"
#include "shoal/error.h"

namespace shoal::plan {
namespace {

constexpr const char* kReductionNames[] = {"sum", "max", "min"};

std::optional<Placement> parse_placement(const std::string& text) {
  if (text == "R") return Placement::replicate();
  for (size_t i = 0; i < std::size(kReductionNames); ++i)
    if (text == cat("P(", kReductionNames[i], ")")) return Placement::partial(static_cast<Reduction>(i));
  int dim = -1;
  const char* const begin = text.data() + 1;
  const char* const end = text.data() + text.size();
  if (text.size() < 2 || text[0] != 'S' || std::from_chars(begin, end, dim).ptr != end || dim < 0)
    return std::nullopt;
  return Placement::shard(dim);
}

}  // namespace

int64_t DeviceMesh::devices() const {
  int64_t count = 1;
  for (const Axis& axis : axes) count *= axis.size;
  return count;
}

std::vector<int64_t> DeviceMesh::coordinates(int64_t device) const {
  std::vector<int64_t> places(axes.size());
  for (size_t axis = axes.size(); axis-- > 0; device /= axes[axis].size)
    places[axis] = device % axes[axis].size;
  return places;
}

std::vector<int64_t> DeviceMesh::group(int64_t device, size_t axis) const {
  int64_t stride = 1;
  for (size_t later = axis + 1; later < axes.size(); ++later) stride *= axes[later].size;
  const int64_t first = device - coordinates(device)[axis] * stride;
  std::vector<int64_t> members;
  for (int64_t i = 0; i < axes[axis].size; ++i) members.push_back(first + i * stride);
  return members;
}

std::string print(const Placement& placement) {
  switch (placement.kind) {
    case Placement::Kind::kShard:
      return cat("S", placement.dim);
    case Placement::Kind::kPartial:
      return cat("P(", kReductionNames[static_cast<size_t>(placement.reduction)], ")");
    case Placement::Kind::kReplicate:
      break;
  }
  return "R";
}

std::string print(const TensorLayout& layout) {
  std::vector<std::string> texts;
  for (const Placement& placement : layout.placements) texts.push_back(print(placement));
  return join(texts, ",");
}

TensorLayout parse_tensor_layout(const std::string& text, const std::string& place) {
  TensorLayout layout;
  for (const std::string& part : split(text, ',')) {
    const std::optional<Placement> placement = parse_placement(part);
    if (!placement)
      throw InputError(
          cat(place, ": got \"", part, "\", want R, S0 (any dim), P(sum), P(max) or P(min) for each axis"));
    layout.placements.push_back(*placement);
  }
  return layout;
}

void check_tensor_layout(const std::vector<int64_t>& shape, const DeviceMesh& mesh,
                         const TensorLayout& layout) {
  const std::string place = cat("layout ", print(layout));
  if (layout.placements.size() != mesh.axes.size())
    throw BrokenInvariant(cat(place, " - axes: got ", layout.placements.size(), ", want ", mesh.axes.size(),
                              " as in the mesh"));
  std::optional<Reduction> reduction;
  for (const Placement& placement : layout.placements) {
    if (placement.kind == Placement::Kind::kShard &&
        (placement.dim < 0 || placement.dim >= static_cast<int>(shape.size())))
      throw BrokenInvariant(cat(place, " - dim: got ", placement.dim, ", want one of ", shape.size()));
    if (placement.kind != Placement::Kind::kPartial) continue;
    if (reduction && *reduction != placement.reduction)
      throw BrokenInvariant(cat(place, " - partial: got two reductions, want one"));
    reduction = placement.reduction;
  }
}

std::vector<Range> local_box(const std::vector<int64_t>& shape, const DeviceMesh& mesh,
                             const TensorLayout& layout, int64_t device) {
  std::vector<Range> box;
  for (const int64_t size : shape) box.push_back({0, size});
  const std::vector<int64_t> places = mesh.coordinates(device);
  for (size_t axis = 0; axis < mesh.axes.size(); ++axis) {
    const Placement& placement = layout.placements[axis];
    if (placement.kind != Placement::Kind::kShard) continue;
    Range& range = box[placement.dim];
    const Range inner = share(range.size(), mesh.axes[axis].size, places[axis]);
    range = {range.begin + inner.begin, range.begin + inner.end};
  }
  return box;
}

std::vector<int64_t> local_shape(const std::vector<int64_t>& shape, const DeviceMesh& mesh,
                                 const TensorLayout& layout, int64_t device) {
  std::vector<int64_t> sizes;
  for (const Range& range : local_box(shape, mesh, layout, device)) sizes.push_back(range.size());
  return sizes;
}

}  // namespace shoal::plan
