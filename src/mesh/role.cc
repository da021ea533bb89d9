#include "mesh/role.h"

namespace shoal::mesh {

Role role_of(const Layout& layout, int rank) {
  const DeviceMesh mesh = mesh_of(layout);
  if (mesh.contains(rank)) return {true, mesh.coordinate(rank, "dp"), mesh.coordinate(rank, "tp")};
  return {false, 0, (rank - mesh.devices()) % mesh.size("tp")};
}

int rank_of(const Layout& layout, int dp, int tp) { return mesh_of(layout).rank_at({dp, tp}); }

}  // namespace shoal::mesh
