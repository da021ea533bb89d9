// Products of matrices: a letter that the result lacks is summed, so its parts are added.
#include "ops/rules.h"

namespace shoal::ops {

Table matmul_table() {
  static constexpr Row kRows[] = {
      {"aten::_cdist_backward", "...pr,...pm,...rm,...pr->...pm; broadcast; flops: 4 ... p r m; linear: 0"},
      {"aten::_cdist_forward",
       "...pm,...rm->...pr; broadcast; if p=1; flops: 3 ... p r m "
       "| ...pm,...rm->...pr; broadcast; whole: m; flops: 3 ... p r m"},
      {"aten::_pdist_backward", "k,nm,k->nm; whole: k n; linear: 0"},
      {"aten::_pdist_forward", "nm->k; whole: k n m"},
      // As a bilinear layer calls it: forward, and for the gradient of each input.
      {"aten::_trilinear",
       "ni,oij,nj->no; flops: 3 n o i j; linear: 0, 1, 2; "
       "if expand1=[1,3] expand2=[0] expand3=[1,2] sumdim=[2,3] "
       "| no,oij,nj->ni; flops: 3 n o i j; linear: 0, 1, 2; "
       "if expand1=[2,3] expand2=[0] expand3=[1,2] sumdim=[1,3] "
       "| ni,no,nj->oij; flops: 3 n o i j; linear: 0, 1, 2; "
       "if expand1=[1,3] expand2=[2,3] expand3=[1,2] sumdim=[0] "
       "| ni,oij,no->nj; flops: 3 n o i j; linear: 0, 1, 2; "
       "if expand1=[1,3] expand2=[0] expand3=[2,3] sumdim=[1,2]"},
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
