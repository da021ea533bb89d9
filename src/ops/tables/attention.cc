// Attention divides by batch and by heads. Fewer heads of keys and values than of queries: each part takes
// its share of both.
#include "ops/rules.h"

namespace shoal::ops {

Table attention_table() {
  static constexpr Row kRows[] = {
      {"aten::_scaled_dot_product_flash_attention_for_cpu",
       "bhtd,bhsd,bhsd,bhts->bhtd,bht; spread: h; broadcast: 3; whole: s d; flops: 4 b h t s d; "
       "if is_causal=false "
       "| bhtd,bhsd,bhsd,bhts->bhtd,bht; spread: h; broadcast: 3; whole: s d t; flops: 4 b h t s d"},
      {"aten::_scaled_dot_product_flash_attention_for_cpu_backward",
       "bhtd,bhtd,bhsd,bhsd,bhtd,bht,bhts->bhtd,bhsd,bhsd; spread: h; broadcast: 6; whole: d; flops: 10 b h "
       "t s d; if is_causal=false; linear: 0 "
       "| bhtd,bhtd,bhsd,bhsd,bhtd,bht,bhts->bhtd,bhsd,bhsd; spread: h; broadcast: 6; whole: s d t; flops: "
       "10 b h t s d; linear: 0"},
      {"aten::_scaled_dot_product_fused_attention_overrideable",
       "bhtd,bhsd,bhsd,bhts->bhtd,bht,-,-,-,-,-,-,-; spread: h; broadcast: 3; whole: s d; "
       "flops: 4 b h t s d; if is_causal=false "
       "| bhtd,bhsd,bhsd,bhts->bhtd,bht,-,-,-,-,-,-,-; spread: h; broadcast: 3; whole: s d t; "
       "flops: 4 b h t s d"},
      {"aten::_scaled_dot_product_fused_attention_overrideable_backward",
       "bhtd,bhtd,bhsd,bhsd,bhts,bhtd,bht,-,-,-,- -> bhtd,bhsd,bhsd,bhts; spread: h; broadcast: 4; whole: d; "
       "flops: 10 b h t s d; if is_causal=false; linear: 0 "
       "| bhtd,bhtd,bhsd,bhsd,bhts,bhtd,bht,-,-,-,- -> bhtd,bhsd,bhsd,bhts; spread: h; broadcast: 4; whole: "
       "s d t; flops: 10 b h t s d; linear: 0"},
  };
  return kRows;
}

}  // namespace shoal::ops
