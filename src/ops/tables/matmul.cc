// Products of matrices: a letter that the result lacks is summed, so its parts are added.
#include "ops/rules.h"

namespace shoal::ops {

Table matmul_table() {
  static constexpr Row kRows[] = {
      {"aten::addbmm", "mn,bmk,bkn->mn; broadcast: 0; whole: b k; flops: 2 b m k n; linear: 0 1, 0 2"},
      {"aten::addmm",
       "+mn,mk,kn->mn; without: aten::mm(mat1 mat2); if beta=1 alpha=1; flops: 2 m k n; linear: 0 1, 0 2 "
       "| mn,mk,kn->mn; broadcast: 0; whole: k; flops: 2 m k n; linear: 0 1, 0 2"},
      {"aten::addmv",
       "+m,mk,k->m; without: aten::mv(mat vec); if beta=1 alpha=1; flops: 2 m k; linear: 0 1, 0 2 "
       "| m,mk,k->m; broadcast: 0; whole: k; flops: 2 m k; linear: 0 1, 0 2"},
      {"aten::baddbmm",
       "+bmn,bmk,bkn->bmn; without: aten::bmm(batch1 batch2); if beta=1 alpha=1; flops: 2 b m k n; linear: 0 "
       "1, 0 2 "
       "| bmn,bmk,bkn->bmn; broadcast: 0; whole: k; flops: 2 b m k n; linear: 0 1, 0 2"},
      {"aten::bmm", "bmk,bkn->bmn; flops: 2 b m k n; linear: 0, 1"},
      {"aten::dot", "k,k->(); flops: 2 k; linear: 0, 1"},
      {"aten::mm", "mk,kn->mn; flops: 2 m k n; linear: 0, 1"},
      {"aten::mv", "mk,k->m; flops: 2 m k; linear: 0, 1"},
  };
  return kRows;
}

}  // namespace shoal::ops
