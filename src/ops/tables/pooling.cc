// Pooling and its reverse, by samples and by channels: a window reads one channel of one sample.
#include "ops/rules.h"

namespace shoal::ops {

Table pooling_table() {
  static constexpr Row kRows[] = {
      {"aten::_adaptive_avg_pool2d", "...xy->...xy; whole: x y; linear: 0"},
      {"aten::_adaptive_avg_pool2d_backward",
       "...xy,...xy->...xy; kept: x y (parts are the whole only where windows do not overlap); linear: 0"},
      {"aten::_adaptive_avg_pool3d", "...xyz->...xyz; whole: x y z; linear: 0"},
      {"aten::_adaptive_avg_pool3d_backward",
       "...xyz,...xyz->...xyz; kept: x y z (parts are the whole only where windows do not overlap); "
       "linear: 0"},
      {"aten::adaptive_max_pool2d", "...xy->...xy,...xy; whole: x y"},
      {"aten::adaptive_max_pool2d_backward", "...ab,...xy,...ab->...xy; whole: x y; linear: 0"},
      {"aten::adaptive_max_pool3d", "...xyz->...xyz,...xyz; whole: x y z"},
      {"aten::adaptive_max_pool3d_backward", "...abc,...xyz,...abc->...xyz; whole: x y z; linear: 0"},
      {"aten::avg_pool2d",
       "...xy->...xy; kept: x y (parts are the whole only where windows do not overlap); linear: 0"},
      {"aten::avg_pool2d_backward",
       "...xy,...xy->...xy; kept: x y (parts are the whole only where windows do not overlap); linear: 0"},
      {"aten::avg_pool3d",
       "...xyz->...xyz; kept: x y z (parts are the whole only where windows do not overlap); linear: 0"},
      {"aten::avg_pool3d_backward",
       "...xyz,...xyz->...xyz; kept: x y z (parts are the whole only where windows do not overlap); "
       "linear: 0"},
      {"aten::fractional_max_pool2d", "ncxy,ncr->ncxy,ncxy; whole: x y r | cxy,bcr->cxy,cxy; whole: b x y r"},
      {"aten::fractional_max_pool2d_backward", "...xy,...xy,...xy->...xy; whole: x y; linear: 0"},
      {"aten::fractional_max_pool3d",
       "ncxyz,ncr->ncxyz,ncxyz; whole: x y z r | cxyz,bcr->cxyz,cxyz; whole: b x y z r"},
      {"aten::fractional_max_pool3d_backward", "...xyz,...xyz,...xyz->...xyz; whole: x y z; linear: 0"},
      {"aten::max_pool2d_with_indices", "...xy->...xy,...xy; whole: x y"},
      {"aten::max_pool2d_with_indices_backward", "...xy,...xy,...xy->...xy; whole: x y; linear: 0"},
      {"aten::max_pool3d_with_indices", "...xyz->...xyz,...xyz; whole: x y z"},
      {"aten::max_pool3d_with_indices_backward", "...abc,...xyz,...abc->...xyz; whole: x y z; linear: 0"},
      {"aten::max_unpool2d",
       "...ab,...ab->...xy; whole: x y; kept: a b (two may go to one place); linear: 0"},
      {"aten::max_unpool3d",
       "...abc,...abc->...xyz; whole: x y z; kept: a b c (two may go to one place); linear: 0"},
  };
  return kRows;
}

}  // namespace shoal::ops
