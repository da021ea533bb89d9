// Tensors made from nothing: any part of a constant one can be asked for by its sizes.
#include "ops/rules.h"

namespace shoal::ops {

Table factory_table() {
  static constexpr Row kRows[] = {
      {"aten::arange", "->n; whole: n"},
      {"aten::arange.start", "->n; whole: n"},
      {"aten::arange.start_step", "->n; whole: n"},
      {"aten::empty.memory_format", "->...; size=...; random"},
      {"aten::empty_like", "...->...; random"},
      {"aten::empty_strided", "->...; size=...; random"},
      {"aten::eye", "->ab; whole: a b"},
      {"aten::full", "->...; size=..."},
      {"aten::full_like", "...->..."},
      {"aten::linspace", "->n; whole: n"},
      {"aten::new_empty", "X->...; size=...; kept: X (only its dtype is read); random"},
      {"aten::new_empty_strided", "X->...; size=...; kept: X (only its dtype is read); random"},
      {"aten::new_full", "X->...; size=...; kept: X (only its dtype is read)"},
      {"aten::new_ones", "X->...; size=...; kept: X (only its dtype is read)"},
      {"aten::new_zeros", "X->...; size=...; kept: X (only its dtype is read)"},
      {"aten::ones", "->...; size=..."},
      {"aten::ones_like", "...->..."},
      {"aten::scalar_tensor", "->()"},
      {"aten::zeros", "->...; size=..."},
      {"aten::zeros_like", "...->..."},
  };
  return kRows;
}

}  // namespace shoal::ops
