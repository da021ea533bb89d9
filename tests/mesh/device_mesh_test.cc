#include "mesh/device_mesh.h"

#include <gtest/gtest.h>

#include <stdexcept>

#include "mesh/role.h"
#include "support/expect_error.h"

namespace shoal::mesh {
namespace {

using Ranks = std::vector<int>;

TEST(DeviceMeshTest, TheLastAxisVariesFastest) {
  const DeviceMesh mesh = {{{"pp", 2}, {"dp", 2}, {"tp", 3}}};
  EXPECT_EQ(mesh.devices(), 12);
  EXPECT_EQ(mesh.group(4, "pp"), (Ranks{4, 10}));
  EXPECT_EQ(mesh.group(4, "dp"), (Ranks{1, 4}));
  EXPECT_EQ(mesh.group(4, "tp"), (Ranks{3, 4, 5}));
  EXPECT_EQ(DeviceMesh{}.devices(), 1);
}

TEST(DeviceMeshTest, ARankIsWhereItsCoordinatesSay) {
  const DeviceMesh mesh = {{{"pp", 2}, {"dp", 3}, {"tp", 2}}};
  for (int rank = 0; rank < mesh.devices(); ++rank) {
    EXPECT_TRUE(mesh.contains(rank));
    Ranks coordinates;
    for (const char* axis : {"pp", "dp", "tp"}) {
      coordinates.push_back(mesh.coordinate(rank, axis));
      const Ranks group = mesh.group(rank, axis);
      ASSERT_EQ(static_cast<int>(group.size()), mesh.size(axis));
      EXPECT_EQ(group[static_cast<size_t>(mesh.coordinate(rank, axis))], rank);
    }
    EXPECT_EQ(mesh.rank_at(coordinates), rank);
  }
  EXPECT_FALSE(mesh.contains(mesh.devices()));
  EXPECT_FALSE(mesh.contains(-1));
}

TEST(DeviceMeshTest, AnUnknownAxisIsRefused) {
  EXPECT_ERROR(mesh_of({}).size("sp"), std::logic_error, "mesh - axis: got sp, want one of pp, dp, tp");
}

TEST(DeviceMeshTest, RolesFollowTheMeshServersComeBehindIt) {
  const Layout layout{.dp = 3, .tp = 2, .servers = 3};
  const DeviceMesh mesh = mesh_of(layout);
  EXPECT_EQ(mesh.axes, (std::vector<DeviceMesh::Axis>{{"pp", 1}, {"dp", 3}, {"tp", 2}}));
  for (int rank = 0; rank < mesh.devices(); ++rank) {
    const Role role = role_of(layout, rank);
    EXPECT_TRUE(role.computes);
    EXPECT_EQ(rank, role.dp * 2 + role.tp) << "docs/layouts.md: the grid row by row";
    EXPECT_EQ(rank_of(layout, role.pp, role.dp, role.tp), rank);
  }
  for (int rank = mesh.devices(); rank < layout.devices(); ++rank) {
    const Role role = role_of(layout, rank);
    EXPECT_FALSE(role.computes);
    EXPECT_EQ(role.tp, rank % 2) << "servers take turns among the coordinates";
  }
}

}  // namespace
}  // namespace shoal::mesh
