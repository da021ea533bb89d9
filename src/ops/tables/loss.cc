// Losses. reduction: 0 none, 1 mean, 2 sum. A mean divides by how many there are, so it stays whole forward;
// its gradient does not.
#include "ops/rules.h"

namespace shoal::ops {

Table loss_table() {
  static constexpr Row kRows[] = {
      {"aten::binary_cross_entropy",
       "...,...,...->...; broadcast: 2; if reduction=0; linear: 2 "
       "| ...,...,...->(); broadcast: 2; if reduction=2; linear: 2 "
       "| ...,...,...->(); broadcast: 2; whole: ...; linear: 2"},
      {"aten::binary_cross_entropy_backward",
       "...,...,...,...->...; broadcast; if reduction=0; linear: 0 "
       "| ...,...,...,...->...; broadcast; if reduction=2; linear: 0 "
       "| ...,...,...,...->...; broadcast; whole: ...; linear: 0"},
      {"aten::binary_cross_entropy_with_logits",
       "...,...,...,...->...; broadcast; if reduction=0; linear: 2 "
       "| ...,...,...,...->(); broadcast; if reduction=2; linear: 2 "
       "| ...,...,...,...->(); broadcast; whole: ...; linear: 2"},
      {"aten::huber_loss",
       "...,...->...; if reduction=0 "
       "| ...,...->(); if reduction=2 "
       "| ...,...->(); whole: ..."},
      {"aten::huber_loss_backward",
       "...,...,...->...; broadcast; if reduction=0; linear: 0 "
       "| ...,...,...->...; broadcast; if reduction=2; linear: 0 "
       "| ...,...,...->...; broadcast; whole: ...; linear: 0"},
      {"aten::mse_loss",
       "...,...->...; if reduction=0 "
       "| ...,...->(); if reduction=2 "
       "| ...,...->(); whole: ..."},
      {"aten::mse_loss_backward",
       "...,...,...->...; broadcast; if reduction=0; linear: 0, 1 2 "
       "| ...,...,...->...; broadcast; if reduction=2; linear: 0, 1 2 "
       "| ...,...,...->...; broadcast; whole: ...; linear: 0, 1 2"},
      {"aten::multi_margin_loss",
       "nc,n,c->n; whole: c; if reduction=0; linear: 2 "
       "| nc,n,c->(); whole: c; if reduction=2; linear: 2 "
       "| nc,n,c->(); whole: n c; linear: 2"},
      {"aten::multi_margin_loss_backward",
       "n,nc,n,c->nc; whole: c; if reduction=0; linear: 0, 3 "
       "| (),nc,n,c->nc; whole: c; if reduction=2; linear: 0, 3 "
       "| (),nc,n,c->nc; whole: n c; linear: 0, 3"},
      {"aten::nll_loss2d_backward",
       "nX,ncX,nX,c,()->ncX; whole: c; if reduction=0; linear: 0 "
       "| (),ncX,nX,c,()->ncX; whole: c; linear: 0, 3"},
      {"aten::nll_loss2d_forward",
       "ncX,nX,c->nX,-; whole: c; if reduction=0; linear: 0 "
       "| ncX,nX,c->(),(); whole: c; if reduction=2; linear: 2 "
       "| ncX,nX,c->(),(); whole: n c X"},
      {"aten::nll_loss_backward",
       "n,nc,n,c,()->nc; whole: c; if reduction=0; linear: 0 "
       "| (),nc,n,c,()->nc; whole: c; linear: 0, 3"},
      {"aten::nll_loss_forward",
       "nc,n,c->n,-; whole: c; if reduction=0; linear: 0 "
       "| nc,n,c->(),(); whole: c; if reduction=2 "
       "| nc,n,c->(),(); whole: n c"},
      {"aten::smooth_l1_loss",
       "...,...->...; if reduction=0 "
       "| ...,...->(); if reduction=2 "
       "| ...,...->(); whole: ..."},
      {"aten::smooth_l1_loss_backward",
       "...,...,...->...; broadcast; if reduction=0; linear: 0 "
       "| ...,...,...->...; broadcast; if reduction=2; linear: 0 "
       "| ...,...,...->...; broadcast; whole: ...; linear: 0"},
      {"aten::soft_margin_loss",
       "...,...->...; if reduction=0 "
       "| ...,...->(); if reduction=2 "
       "| ...,...->(); whole: ..."},
      {"aten::soft_margin_loss_backward",
       "...,...,...->...; broadcast; if reduction=0; linear: 0 "
       "| ...,...,...->...; broadcast; if reduction=2; linear: 0 "
       "| ...,...,...->...; broadcast; whole: ...; linear: 0"},
  };
  return kRows;
}

}  // namespace shoal::ops
