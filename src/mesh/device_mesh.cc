#include "mesh/device_mesh.h"

#include "base/fault.h"
#include "base/text.h"

namespace shoal::mesh {

DeviceMesh::Steps DeviceMesh::steps(std::string_view name) const {
  int stride = 1;
  for (size_t i = axes.size(); i-- > 0;) {
    const auto size = static_cast<int>(axes[i].size);
    if (axes[i].name == name) return {size, stride};
    stride *= size;
  }
  std::vector<std::string> names;
  for (const Axis& axis : axes) names.push_back(axis.name);
  throw BrokenInvariant(cat("mesh - axis: got ", name, ", want one of ", join(names, ", ")));
}

int DeviceMesh::devices() const {
  int count = 1;
  for (const Axis& axis : axes) count *= static_cast<int>(axis.size);
  return count;
}

int DeviceMesh::size(std::string_view axis) const { return steps(axis).size; }

int DeviceMesh::coordinate(int rank, std::string_view axis) const {
  const auto [size, stride] = steps(axis);
  return rank / stride % size;
}

int DeviceMesh::rank_at(const std::vector<int>& coordinates) const {
  int rank = 0;
  for (size_t i = 0; i < axes.size(); ++i) rank = rank * static_cast<int>(axes[i].size) + coordinates.at(i);
  return rank;
}

std::vector<int> DeviceMesh::group(int rank, std::string_view axis) const {
  const auto [size, stride] = steps(axis);
  const int first = rank - rank / stride % size * stride;
  std::vector<int> ranks;
  for (int place = 0; place < size; ++place) ranks.push_back(first + place * stride);
  return ranks;
}

DeviceMesh mesh_of(const Layout& layout) {
  return {{
      {"pp", layout.pp},
      {"dp", layout.dp},
      {"tp", layout.tp},
  }};
}

}  // namespace shoal::mesh
