// Reading and writing at places: the dim that is looked up stays whole, the places themselves come apart.
#include "ops/rules.h"

namespace shoal::ops {

Table indexing_table() {
  static constexpr Row kRows[] = {
      {"aten::_embedding_bag",
       "vd,i,b,i->bd,O@1,P@1,bd; whole: v i b O P; if mode=2 "
       "| vd,i,b,i->bd,O@1,P@1,Q@1; whole: v i b O P Q"},
      {"aten::_embedding_bag_backward",
       "bd,i,b,O,P,bd,i->vd; whole: v i b O P; if mode=2; linear: 0 "
       "| bd,i,b,O,P,Q,i->vd; whole: v i b O P Q; linear: 0, 6"},
      {"aten::_embedding_bag_dense_backward",
       "bd,i,O,P,bd,i->vd; whole: v i b O P; if mode=2; linear: 0 "
       "| bd,i,O,P,Q,i->vd; whole: v i b O P Q; linear: 0, 5"},
      {"aten::_embedding_bag_per_sample_weights_backward", "bd,vd,i,b,O->i; whole: v i b O; linear: 0, 1"},
      {"aten::embedding", "vd,...->...d; whole: v; linear: 0"},
      {"aten::embedding_dense_backward",
       "...d,...->vd; if scale_grad_by_freq=false; linear: 0 "
       "| ...d,...->vd; whole: ...; linear: 0"},
      {"aten::gather", "...[dim:v],...[dim:i]->...[dim:i]; whole: v; linear: 0"},
      {"aten::index.Tensor", "...[indices:v],{I}->...[indices:I]; whole: v; linear: 0"},
      {"aten::index_add", "...[dim:v],i,...[dim:i]->...[dim:v]; whole: v i; linear: 0 2"},
      {"aten::index_put", "...[indices:v],{I},...[indices:I]->...[indices:v]; whole: v I; linear: 0 2"},
      {"aten::index_select", "...[dim:v],i->...[dim:i]; whole: v; linear: 0"},
      {"aten::scatter.src", "...[dim:v],...[dim:i],...[dim:i]->...[dim:v]; whole: v i; linear: 0 2"},
      {"aten::scatter.value", "...[dim:v],...[dim:i]->...[dim:v]; whole: v i"},
      {"aten::scatter_add", "...[dim:v],...[dim:i],...[dim:i]->...[dim:v]; whole: v i; linear: 0 2"},
      {"aten::select.int", "...[dim:s]->...; whole: s; view"},
      {"aten::select_backward", "...->...[dim:s]; whole: s; input_sizes=...[dim:s]; linear: 0"},
      {"aten::select_scatter", "...[dim:s],...->...[dim:s]; whole: s; linear: 0 1"},
      {"aten::slice.Tensor", "...[dim:s]->...[dim:s]; view"},
      {"aten::slice_backward", "...[dim:s]->...[dim:s]; input_sizes=...[dim:s]; linear: 0"},
      {"aten::slice_scatter", "...[dim:s],...[dim:s]->...[dim:s]; linear: 0 1"},
      {"aten::sort", "...[dim:s]->...[dim:s],...[dim:s]; whole: s"},
      {"aten::sort.stable", "...[dim:s]->...[dim:s],...[dim:s]; whole: s"},
      {"aten::topk", "...[dim:s]->...[dim:s],...[dim:s]; whole: s"},
  };
  return kRows;
}

}  // namespace shoal::ops
