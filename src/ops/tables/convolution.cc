// Convolutions, by samples and by channels: n samples, i channels in, o out; X, Y, Z the places of input,
// kernel and output.
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
      {"aten::convolution", kConvolution},
      {"aten::convolution_backward", kConvolutionBackward},
      {"aten::convolution_backward_overrideable", kConvolutionBackwardOverrideable},
      {"aten::convolution_overrideable", kConvolution},
  };
  return kRows;
}

}  // namespace shoal::ops
