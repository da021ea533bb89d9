// What a rank is in its layout: one that computes, at a place of the mesh, or a server.
#pragma once

#include "mesh/device_mesh.h"
#include "shoal/layout.h"

namespace shoal::mesh {

struct Role {
  bool computes = true;  // else it is a server
  int dp = 0, tp = 0, pp = 0;  // its coordinates; of a server: tp is the coordinate whose whole gradients it reads
};

Role role_of(const Layout&, int rank);
/// The rank that computes at these coordinates.
int rank_of(const Layout&, int pp, int dp, int tp);

}  // namespace shoal::mesh
