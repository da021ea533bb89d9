// Normalisations: what is averaged over stays whole.
#include "ops/rules.h"

namespace shoal::ops {

Table normalisation_table() {
  static constexpr Row kRows[] = {
      {"aten::_fused_rms_norm", "...N,N->...N,...N; normalized_shape=N; whole: N"},
      {"aten::_log_softmax", "...[dim:s]->...[dim:s]; whole: s"},
      {"aten::_log_softmax_backward_data", "...[dim:s],...[dim:s]->...[dim:s]; whole: s; linear: 0"},
      {"aten::_native_batch_norm_legit.no_stats", "ncX,c,c->ncX,c,c; whole: n X"},
      {"aten::_native_batch_norm_legit_functional", "ncX,c,c,c,c->ncX,c,c,c,c; whole: n X"},
      {"aten::_safe_softmax", "...[dim:s]->...[dim:s]; whole: s"},
      {"aten::_softmax", "...[dim:s]->...[dim:s]; whole: s"},
      {"aten::_softmax_backward_data", "...[dim:s],...[dim:s]->...[dim:s]; whole: s; linear: 0"},
      {"aten::native_batch_norm", "ncX,c,c,c,c->ncX,c,c; whole: n X"},
      {"aten::native_batch_norm_backward", "ncX,ncX,c,c,c,c,c->ncX,c,c; whole: n X; linear: 0"},
      {"aten::native_group_norm", "ncX,c,c->ncX,nc,nc; spread: c; N=n; C=c; group=c; whole: X"},
      {"aten::native_group_norm_backward",
       "ncX,ncX,nc,nc,c->ncX,c,c; spread: c; N=n; C=c; group=c; whole: X; linear: 0"},
      {"aten::native_layer_norm", "...N,N,N->...N,...N,...N; normalized_shape=N; whole: N"},
      {"aten::native_layer_norm_backward",
       "...N,...N,...N,...N,N,N->...N,N,N; normalized_shape=N; whole: N; linear: 0"},
  };
  return kRows;
}

}  // namespace shoal::ops
