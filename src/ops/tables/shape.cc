// Views, and what puts tensors together or takes them apart.
#include "ops/rules.h"

namespace shoal::ops {

Table shape_table() {
  static constexpr Row kRows[] = {
      {"aten::_reshape_alias", "X->Y; whole: X Y; memory"},
      {"aten::_unsafe_view", "(...)->(...); size=(...); view"},
      {"aten::as_strided", "X->Y; whole: X Y; memory"},
      {"aten::as_strided_scatter", "X,Y->X; whole: Y; kept: X (places in memory, not indices); memory"},
      {"aten::cat", "{...[dim:c]}->...[dim:c~]; linear: 0"},
      {"aten::diagonal", "...[dim1:a,dim2:b]->...d; whole: a b d; view"},
      {"aten::diagonal_backward", "X->Y; whole: X Y; linear: 0"},
      {"aten::diagonal_scatter", "...[dim1:a,dim2:b],...d->...[dim1:a,dim2:b]; whole: a b d; linear: 0 1"},
      {"aten::expand", "...->...; broadcast; size=...; view"},
      {"aten::flip", "...[dims:s]->...[dims:s]; whole: s; linear: 0"},
      {"aten::permute", "...->...; permute: dims; view"},
      {"aten::repeat", "...->...; broadcast; linear: 0"},
      {"aten::reshape", "(...)->(...); shape=(...); linear: 0"},
      {"aten::roll", "...[dims:s]->...[dims:s]; whole: s; linear: 0"},
      {"aten::split.Tensor", "...[dim:c~]->{...[dim:c]}; split_size=c; view"},
      {"aten::split_with_sizes", "...[dim:c~]->{...[dim:c]}; split_sizes={c}; view"},
      {"aten::squeeze", "(...)->(...); view"},
      {"aten::squeeze.dim", "...[dim:s]->...[dim:_]; kept: s (a part of size 1 would lose the dim); view"},
      {"aten::squeeze.dims", "...[dim:s]->...[dim:_]; kept: s (a part of size 1 would lose the dim); view"},
      {"aten::stack", "{...}->...[dim:s]; linear: 0"},
      {"aten::t", "ab->ba; view | a->a; view"},
      {"aten::transpose.int", "...->...; permute: dim0 dim1; view"},
      {"aten::tril", "...xy->...xy; whole: x y; linear: 0"},
      {"aten::triu", "...xy->...xy; whole: x y; linear: 0"},
      {"aten::unbind.int", "...[dim:s]->{...}; whole: s; view"},
      {"aten::unfold", "...[dimension:s]->...[dimension:s]w; whole: s w; view"},
      {"aten::unfold_backward", "X->Y; whole: X Y; linear: 0"},
      {"aten::unsafe_split.Tensor", "...[dim:c~]->{...[dim:c]}; split_size=c; view"},
      {"aten::unsqueeze", "...->...[dim:s]; view"},
      {"aten::view", "(...)->(...); size=(...); view"},
  };
  return kRows;
}

}  // namespace shoal::ops
