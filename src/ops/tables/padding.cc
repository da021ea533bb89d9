// Padding, by the dims that are not padded.
#include "ops/rules.h"

namespace shoal::ops {

Table padding_table() {
  static constexpr Row kRows[] = {
      {"aten::constant_pad_nd", "...[pad:s%]->...[pad:s%]; whole: s"},
      {"aten::reflection_pad1d", "...x->...x; whole: x; linear: 0"},
      {"aten::reflection_pad1d_backward", "...x,...x->...x; whole: x; linear: 0"},
      {"aten::reflection_pad2d", "...xy->...xy; whole: x y; linear: 0"},
      {"aten::reflection_pad2d_backward", "...xy,...xy->...xy; whole: x y; linear: 0"},
      {"aten::reflection_pad3d", "...xyz->...xyz; whole: x y z; linear: 0"},
      {"aten::reflection_pad3d_backward", "...xyz,...xyz->...xyz; whole: x y z; linear: 0"},
      {"aten::replication_pad1d", "...x->...x; whole: x; linear: 0"},
      {"aten::replication_pad1d_backward", "...x,...x->...x; whole: x; linear: 0"},
      {"aten::replication_pad2d", "...xy->...xy; whole: x y; linear: 0"},
      {"aten::replication_pad2d_backward", "...xy,...xy->...xy; whole: x y; linear: 0"},
      {"aten::replication_pad3d", "...xyz->...xyz; whole: x y z; linear: 0"},
      {"aten::replication_pad3d_backward", "...xyz,...xyz->...xyz; whole: x y z; linear: 0"},
  };
  return kRows;
}

}  // namespace shoal::ops
