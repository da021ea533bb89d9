// From one layout of a tensor to another: the sequence of collectives that moves the fewest bytes.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "plan/placements.h"

namespace shoal::plan {

enum class Collective { kSlice, kAllGather, kAllToAll, kReduceScatter, kAllReduce };
/// "all_gather".
const char* collective_name(Collective);

/// One collective in every group of one axis, which changes the placement on that axis alone.
struct Redistribution {
  Collective collective;
  size_t axis;  // of the mesh
  Placement from, to;
  /// What all devices together send: for n devices and local tensors of `s` bytes (before; `S` after)
  ///   slice           0
  ///   all_gather      (n - 1) s from each
  ///   all_to_all      what it holds and another needs, from each
  ///   reduce_scatter  s - S from each: the others' parts
  ///   all_reduce      2 (n - 1) / n s from each: a reduce_scatter and an all_gather
  int64_t bytes;
  friend bool operator==(const Redistribution&, const Redistribution&) = default;
};
/// "all_gather tp: S1 -> R, 96 bytes"
std::string print(const Redistribution&, const DeviceMesh&);

/// The sequence from `from` to `to` with the fewest bytes; of those, with the fewest steps; of those, always
/// the same. Axes of one device take no step. Only the last of the axes that shard a dim can give it back or
/// pass it on, so a change to an earlier one moves the later ones out of the way and back. Throws
/// BrokenInvariant for layouts that check_tensor_layout refuses, and where `to` is Partial on an axis of
/// which `from` is not: nothing makes a tensor partial but computing it so.
std::vector<Redistribution> redistribute(const std::vector<int64_t>& shape, const DeviceMesh&,
                                         const TensorLayout& from, const TensorLayout& to,
                                         int64_t element_bytes);

}  // namespace shoal::plan
