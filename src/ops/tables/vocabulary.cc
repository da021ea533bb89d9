// Our own operators on a range of the classes of a vocabulary (kernels/cpu/vocabulary_kernels.cc), which begins at
// `first`.
#include "ops/rules.h"

namespace shoal::ops {

Table vocabulary_table() {
  static constexpr Row kRows[] = {
      {"shoal::cross_entropy_backward", "(),nv,n,n,()->nv; at: first v; linear: 0; flops: 4 n v"},
      {"shoal::cross_entropy_finish", "w->(),(); whole: w"},
      {"shoal::cross_entropy_sums", "nv,n,n->w; at: first v; whole: w"},
      {"shoal::embedding_rows", "vd,...->...d; at: first v; linear: 0"},
      {"shoal::embedding_rows_backward", "...d,...->vd; rows=v; at: first v; linear: 0"},
      {"shoal::row_lse", "...v->...; lse: v; flops: 4 ... v"},
  };
  return kRows;
}

}  // namespace shoal::ops
