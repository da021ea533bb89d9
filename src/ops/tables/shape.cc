// Views, and what puts tensors together or takes them apart.
#include "ops/rules.h"

namespace shoal::ops {

Table shape_table() {
  static constexpr Row kRows[] = {
      {"aten::_reshape_alias", "X->Y; whole: X Y; view"},
      {"aten::_unsafe_view", "(...)->(...); size=(...); view"},
      {"aten::as_strided", "X->Y; whole: X Y; view"},
      {"aten::cat", "{...[dim:c]}->...[dim:c~]"},
      {"aten::constant_pad_nd", "...->..."},
      {"aten::diagonal", "...[dim1:a,dim2:b]->...d; whole: a b d; view"},
      {"aten::expand", "...->...; broadcast; size=...; view"},
      {"aten::flip", "...[dims:s]->...[dims:s]; whole: s"},
      {"aten::permute", "...->...; permute: dims; view"},
      {"aten::repeat", "...->...; broadcast"},
      {"aten::reshape", "(...)->(...); shape=(...)"},
      {"aten::roll", "...[dims:s]->...[dims:s]; whole: s"},
      {"aten::split.Tensor", "...[dim:c~]->{...[dim:c]}; split_size=c; view"},
      {"aten::split_with_sizes", "...[dim:c~]->{...[dim:c]}; split_sizes={c}; view"},
      {"aten::squeeze", "(...)->(...); view"},
      {"aten::squeeze.dim", "...[dim:s]->...[dim:_]; kept: s (a part of size 1 would lose the dim); view"},
      {"aten::squeeze.dims", "...[dim:s]->...[dim:_]; kept: s (a part of size 1 would lose the dim); view"},
      {"aten::stack", "{...}->...[dim:s]"},
      {"aten::t", "ab->ba; view | a->a; view"},
      {"aten::transpose.int", "...->...; permute: dim0 dim1; view"},
      {"aten::tril", "...xy->...xy; whole: x y"},
      {"aten::triu", "...xy->...xy; whole: x y"},
      {"aten::unbind.int", "...[dim:s]->{...}; whole: s; view"},
      {"aten::unfold", "...[dimension:s]->...[dimension:s]w; whole: s w; view"},
      {"aten::unsqueeze", "...->...[dim:s]; view"},
      {"aten::view", "(...)->(...); size=(...); view"},
  };
  return kRows;
}

}  // namespace shoal::ops
