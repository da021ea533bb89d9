// Our own operators on a range of the classes of a vocabulary (run/vocabulary_kernels.cc). That v may come
// apart in the ones that know where their range begins is the work of plan/positions.h.
#include "ops/rules.h"

namespace shoal::ops {

Table vocabulary_table() {
  static constexpr Row kRows[] = {
      {"shoal::cross_entropy_backward", "(),nv,n,n,()->nv; flops: 4 n v"},
      {"shoal::cross_entropy_finish", "w->(),(); whole: w"},
      {"shoal::cross_entropy_sums", "nv,n,n->w; whole: w"},
      {"shoal::embedding_rows", "vd,...->...d"},
      {"shoal::embedding_rows_backward", "...d,...->vd; rows=v"},
      {"shoal::row_lse", "...v->...; lse: v; flops: 4 ... v"},
  };
  return kRows;
}

}  // namespace shoal::ops
