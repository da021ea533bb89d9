// Products of matrices: a letter that the result lacks is summed, so its parts are added.
#include "ops/rules.h"

namespace shoal::ops {

Table matmul_table() {
  static constexpr Row kRows[] = {
      {"aten::addbmm", "mn,bmk,bkn->mn; broadcast: 0; whole: b k; flops: 2 b m k n"},
      {"aten::addmm",
       "+mn,mk,kn->mn; without: aten::mm(mat1 mat2); if beta=1 alpha=1; flops: 2 m k n "
       "| mn,mk,kn->mn; broadcast: 0; whole: k; flops: 2 m k n"},
      {"aten::addmv",
       "+m,mk,k->m; without: aten::mv(mat vec); if beta=1 alpha=1; flops: 2 m k "
       "| m,mk,k->m; broadcast: 0; whole: k; flops: 2 m k"},
      {"aten::baddbmm",
       "+bmn,bmk,bkn->bmn; without: aten::bmm(batch1 batch2); if beta=1 alpha=1; flops: 2 b m k n "
       "| bmn,bmk,bkn->bmn; broadcast: 0; whole: k; flops: 2 b m k n"},
      {"aten::bmm", "bmk,bkn->bmn; flops: 2 b m k n"},
      {"aten::dot", "k,k->(); flops: 2 k"},
      {"aten::mm", "mk,kn->mn; flops: 2 m k n"},
      {"aten::mv", "mk,k->m; flops: 2 m k"},
  };
  return kRows;
}

}  // namespace shoal::ops
