// The devices as a grid with named axes: where a rank's coordinates and its groups come from.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "shoal/layout.h"

namespace shoal::mesh {

/// In the order of ranks the last axis varies fastest. Ranks that the grid does not reach (servers) are on no
/// axis.
struct DeviceMesh {
  struct Axis {
    std::string name;
    int64_t size = 1;
    friend bool operator==(const Axis&, const Axis&) = default;
  };
  std::vector<Axis> axes;

  /// How many devices the grid has: their ranks are 0 to devices() - 1.
  int devices() const;
  bool contains(int rank) const { return rank >= 0 && rank < devices(); }
  /// Throws BrokenInvariant when no axis has the name, here and below.
  int size(std::string_view axis) const;
  /// Where a rank stands on the axis. REQUIRES: contains(rank), here and below.
  int coordinate(int rank, std::string_view axis) const;
  /// The rank at `coordinates`, one for each axis.
  int rank_at(const std::vector<int>& coordinates) const;
  /// The ranks that differ from this one on `axis` alone, itself among them, by their place on it.
  std::vector<int> group(int rank, std::string_view axis) const;

 private:
  struct Steps {
    int size, stride;  // of an axis: its places, and the ranks from one to the next
  };
  Steps steps(std::string_view axis) const;
};

/// The devices of a layout that compute.
DeviceMesh mesh_of(const Layout&);

}  // namespace shoal::mesh
