#include "mesh/role.h"

namespace shoal::mesh {

Role role_of(const Layout& layout, int rank) {
  const DeviceMesh mesh = mesh_of(layout);
  if (mesh.contains(rank)) return {true, mesh.coordinate(rank, "dp"), mesh.coordinate(rank, "tp"), mesh.coordinate(rank, "pp")};
  return {false, 0, (rank - mesh.devices()) % mesh.size("tp"), 0};
}

int rank_of(const Layout& layout, int pp, int dp, int tp) { return mesh_of(layout).rank_at({pp, dp, tp}); }

}  // namespace shoal::mesh
