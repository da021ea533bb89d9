// How one tensor lies on a grid of devices: the algebra of layouts (docs/concepts.md, "Layouts of a tensor").
// Knows shapes alone; the words are those of PyTorch's DTensor.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/blocks.h"

namespace shoal::plan {

/// The devices as a grid with named axes; in the order of ranks the last axis varies fastest.
struct DeviceMesh {
  struct Axis {
    std::string name;
    int64_t size = 1;
    friend bool operator==(const Axis&, const Axis&) = default;
  };
  std::vector<Axis> axes;

  int64_t devices() const;
  /// Where a device stands on each axis.
  std::vector<int64_t> coordinates(int64_t device) const;
  /// The devices that differ from this one on `axis` alone, itself among them, by their place on it.
  std::vector<int64_t> group(int64_t device, size_t axis) const;
};

enum class Reduction { kSum, kMax, kMin };

/// Of one tensor on one axis: each device has all of it, a share of a dim, or an addend (of equal size) of
/// the sum, max or min that the tensor is.
struct Placement {
  enum class Kind { kReplicate, kShard, kPartial };
  Kind kind = Kind::kReplicate;
  int dim = 0;                            // of kShard
  Reduction reduction = Reduction::kSum;  // of kPartial

  static Placement replicate() { return {}; }
  static Placement shard(int dim) { return {.kind = Kind::kShard, .dim = dim}; }
  static Placement partial(Reduction reduction) { return {.kind = Kind::kPartial, .reduction = reduction}; }
  friend bool operator==(const Placement&, const Placement&) = default;
  friend auto operator<=>(const Placement&, const Placement&) = default;
};

/// A placement for each axis of a mesh. When several axes shard one dim, the first one's shares are shared
/// out again by the next: "S0,S0" on 2 x 3 devices cuts dim 0 in 2, then each half in 3. (shoal::Layout is
/// that of a job.)
struct TensorLayout {
  std::vector<Placement> placements;
  friend bool operator==(const TensorLayout&, const TensorLayout&) = default;
  friend auto operator<=>(const TensorLayout&, const TensorLayout&) = default;
};

/// "R", "S0", "P(sum)"; of several axes "S0,R".
std::string print(const Placement&);
std::string print(const TensorLayout&);
/// Reads what print writes. Throws InputError; `place` begins the sentence.
TensorLayout parse_tensor_layout(const std::string& text, const std::string& place);

/// Throws BrokenInvariant unless the layout has a placement for each axis, shards dims that the shape has,
/// and reduces in one way at most (a sum of maxima is no maximum of sums).
void check_tensor_layout(const std::vector<int64_t>& shape, const DeviceMesh&, const TensorLayout&);

/// The part of the tensor that a device holds, a range for each dim. Shares are those of base/blocks.h:
/// uneven where the devices do not divide the dim, the larger ones first, empty when there are more devices
/// than elements.
std::vector<Range> local_box(const std::vector<int64_t>& shape, const DeviceMesh&, const TensorLayout&,
                             int64_t device);
std::vector<int64_t> local_shape(const std::vector<int64_t>& shape, const DeviceMesh&, const TensorLayout&,
                                 int64_t device);

}  // namespace shoal::plan
