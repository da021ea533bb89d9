// Larger and smaller images: interpolation, grids, patches. By samples and by channels.
#include "ops/rules.h"

namespace shoal::ops {
namespace {

// In the order: sample, channel, places.
constexpr const char* kUpsample1d = "ncx->ncx; whole: x; linear: 0";
constexpr const char* kUpsample1dBackward = "ncx->ncx; whole: x; input_size=ncx; linear: 0";
constexpr const char* kUpsample2d = "ncxy->ncxy; whole: x y; linear: 0";
constexpr const char* kUpsample2dBackward = "ncxy->ncxy; whole: x y; input_size=ncxy; linear: 0";
constexpr const char* kUpsample3d = "ncxyz->ncxyz; whole: x y z; linear: 0";
constexpr const char* kUpsample3dBackward = "ncxyz->ncxyz; whole: x y z; input_size=ncxyz; linear: 0";

}  // namespace

Table resampling_table() {
  static constexpr Row kRows[] = {
      {"aten::_upsample_bicubic2d_aa", kUpsample2d},
      {"aten::_upsample_bicubic2d_aa_backward", kUpsample2dBackward},
      {"aten::_upsample_bilinear2d_aa", kUpsample2d},
      {"aten::_upsample_bilinear2d_aa_backward", kUpsample2dBackward},
      {"aten::_upsample_lanczos2d_aa", kUpsample2d},
      {"aten::_upsample_lanczos2d_aa_backward", kUpsample2dBackward},
      {"aten::_upsample_nearest_exact1d", kUpsample1d},
      {"aten::_upsample_nearest_exact1d_backward", kUpsample1dBackward},
      {"aten::_upsample_nearest_exact2d", kUpsample2d},
      {"aten::_upsample_nearest_exact2d_backward", kUpsample2dBackward},
      {"aten::_upsample_nearest_exact3d", kUpsample3d},
      {"aten::_upsample_nearest_exact3d_backward", kUpsample3dBackward},
      {"aten::affine_grid_generator",
       "nij->nhwk; size=nchw; whole: c h w i j k; linear: 0 "
       "| nij->ndhwk; size=ncdhw; whole: c d h w i j k; linear: 0"},
      {"aten::channel_shuffle", "nc...->nc...; whole: c; linear: 0"},
      {"aten::col2im", "...cl->...cxy; spread: c; whole: l x y; linear: 0"},
      {"aten::grid_sampler_2d", "ncxy,nhwk->nchw; whole: x y k; linear: 0"},
      {"aten::grid_sampler_2d_backward", "nchw,ncxy,nhwk->ncxy,nhwk; whole: x y k; linear: 0"},
      {"aten::grid_sampler_3d", "ncxyz,ndhwk->ncdhw; whole: x y z k; linear: 0"},
      {"aten::grid_sampler_3d_backward", "ncdhw,ncxyz,ndhwk->ncxyz,ndhwk; whole: x y z k; linear: 0"},
      {"aten::im2col", "...cxy->...cl; spread: c; whole: l x y; linear: 0"},
      {"aten::native_channel_shuffle", "nc...->nc...; whole: c; linear: 0"},
      {"aten::pixel_shuffle", "...cxy->...cxy; spread: c; spread: x; spread: y; linear: 0"},
      {"aten::pixel_unshuffle", "...cxy->...cxy; spread: c; spread: x; spread: y; linear: 0"},
      {"aten::upsample_bicubic2d", kUpsample2d},
      {"aten::upsample_bicubic2d_backward", kUpsample2dBackward},
      {"aten::upsample_bilinear2d", kUpsample2d},
      {"aten::upsample_bilinear2d_backward", kUpsample2dBackward},
      {"aten::upsample_linear1d", kUpsample1d},
      {"aten::upsample_linear1d_backward", kUpsample1dBackward},
      {"aten::upsample_nearest1d", kUpsample1d},
      {"aten::upsample_nearest1d_backward", kUpsample1dBackward},
      {"aten::upsample_nearest2d", kUpsample2d},
      {"aten::upsample_nearest2d_backward", kUpsample2dBackward},
      {"aten::upsample_nearest3d", kUpsample3d},
      {"aten::upsample_nearest3d_backward", kUpsample3dBackward},
      {"aten::upsample_trilinear3d", kUpsample3d},
      {"aten::upsample_trilinear3d_backward", kUpsample3dBackward},
  };
  return kRows;
}

}  // namespace shoal::ops
