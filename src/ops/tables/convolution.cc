// Convolutions and pooling, by samples and by channels: n samples, i channels in, o out; X, Y, Z the places
// of input, kernel and output.
#include "ops/rules.h"

namespace shoal::ops {

namespace {

// One group; one group the other way round; several groups, which divide by whole groups.
constexpr const char* kConvolution =
    "niX,oiY,+o->noZ; whole: X Y Z; flops: 2 n o i Y Z; if groups=1 transposed=false; linear: 0 2, 1 2 "
    "| niX,ioY,+o->noZ; whole: X Y Z; flops: 2 n o i X Y; if groups=1; linear: 0 2, 1 2 "
    "| ncX,ciY,c->ncZ; whole: X Y Z i; spread: c; groups=c; flops: 2 n c i Y Z; linear: 0 2, 1 2";
constexpr const char* kConvolutionBackward =
    "noZ,niX,oiY->niX,oiY,o@0; whole: X Y Z; bias_sizes=o; flops: 4 n o i Y Z; if groups=1 transposed=false; "
    "linear: 0 "
    "| noZ,niX,ioY->niX,ioY,o@0; whole: X Y Z; bias_sizes=o; flops: 4 n o i X Y; if groups=1; linear: 0 "
    "| ncZ,ncX,ciY->ncX,ciY,c; whole: X Y Z i; spread: c; groups=c; bias_sizes=c; flops: 4 n c i Y Z; "
    "linear: 0";
constexpr const char* kConvolutionBackwardOverrideable =
    "noZ,niX,oiY->niX,oiY,o@0; whole: X Y Z; flops: 4 n o i Y Z; if groups=1 transposed=false; linear: 0 "
    "| noZ,niX,ioY->niX,ioY,o@0; whole: X Y Z; flops: 4 n o i X Y; if groups=1; linear: 0 "
    "| ncZ,ncX,ciY->ncX,ciY,c; whole: X Y Z i; spread: c; groups=c; flops: 4 n c i Y Z; linear: 0";

}  // namespace

Table convolution_table() {
  static constexpr Row kRows[] = {
      {"aten::_adaptive_avg_pool2d", "...xy->...xy; whole: x y; linear: 0"},
      {"aten::_adaptive_avg_pool2d_backward",
       "...xy,...xy->...xy; kept: x y (parts are the whole only where windows do not overlap); linear: 0"},
      {"aten::adaptive_max_pool2d", "...xy->...xy,...xy; whole: x y"},
      {"aten::adaptive_max_pool2d_backward", "...ab,...xy,...ab->...xy; whole: x y; linear: 0"},
      {"aten::avg_pool2d",
       "...xy->...xy; kept: x y (parts are the whole only where windows do not overlap); linear: 0"},
      {"aten::avg_pool2d_backward",
       "...xy,...xy->...xy; kept: x y (parts are the whole only where windows do not overlap); linear: 0"},
      {"aten::convolution", kConvolution},
      {"aten::convolution_backward", kConvolutionBackward},
      {"aten::convolution_backward_overrideable", kConvolutionBackwardOverrideable},
      {"aten::convolution_overrideable", kConvolution},
      {"aten::max_pool2d_with_indices", "...xy->...xy,...xy; whole: x y"},
      {"aten::max_pool2d_with_indices_backward", "...xy,...xy,...xy->...xy; whole: x y; linear: 0"},
      {"aten::pixel_shuffle", "...cxy->...oab; whole: o a b; kept: c x y (they are regrouped); linear: 0"},
      {"aten::pixel_unshuffle", "...cxy->...oab; whole: o a b; kept: c x y (they are regrouped); linear: 0"},
      {"aten::reflection_pad1d", "...x->...x; whole: x; linear: 0"},
      {"aten::reflection_pad1d_backward", "...x,...x->...x; whole: x; linear: 0"},
      {"aten::reflection_pad2d", "...xy->...xy; whole: x y; linear: 0"},
      {"aten::reflection_pad2d_backward", "...xy,...xy->...xy; whole: x y; linear: 0"},
      {"aten::replication_pad1d", "...x->...x; whole: x; linear: 0"},
      {"aten::replication_pad1d_backward", "...x,...x->...x; whole: x; linear: 0"},
      {"aten::replication_pad2d", "...xy->...xy; whole: x y; linear: 0"},
      {"aten::replication_pad2d_backward", "...xy,...xy->...xy; whole: x y; linear: 0"},
      {"aten::upsample_bilinear2d", "ncxy->ncxy; whole: x y; linear: 0"},
      {"aten::upsample_bilinear2d_backward", "ncxy->ncxy; whole: x y; input_size=ncxy; linear: 0"},
      {"aten::upsample_nearest2d", "ncxy->ncxy; whole: x y; linear: 0"},
      {"aten::upsample_nearest2d_backward", "ncxy->ncxy; whole: x y; input_size=ncxy; linear: 0"},
  };
  return kRows;
}

}  // namespace shoal::ops
