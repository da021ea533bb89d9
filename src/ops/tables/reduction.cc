// Reductions: sums, largest and smallest values come apart where they are taken; a mean, which divides by how
// many there are, does not.
#include "ops/rules.h"

namespace shoal::ops {

Table reduction_table() {
  static constexpr Row kRows[] = {
      {"aten::all", "...->(); min: ..."},
      {"aten::all.dim", "...[dim:r]->...[dim:_]; min: r"},
      {"aten::amax", "...[dim:r]->...[dim:_]; max: r"},
      {"aten::amin", "...[dim:r]->...[dim:_]; min: r"},
      {"aten::any", "...->(); max: ..."},
      {"aten::any.dim", "...[dim:r]->...[dim:_]; max: r"},
      {"aten::argmax", "...[dim:r]->...[dim:_]; whole: r"},
      {"aten::argmin", "...[dim:r]->...[dim:_]; whole: r"},
      {"aten::cummax", "...[dim:s]->...[dim:s],...[dim:s]; whole: s"},
      {"aten::cummin", "...[dim:s]->...[dim:s],...[dim:s]; whole: s"},
      {"aten::cumprod", "...[dim:s]->...[dim:s]; whole: s"},
      {"aten::cumsum", "...[dim:s]->...[dim:s]; whole: s; linear: 0"},
      {"aten::kthvalue", "...[dim:r]->...[dim:_],...[dim:_]; whole: r"},
      {"aten::linalg_vector_norm", "...[dim:r]->...[dim:_]; whole: r"},
      {"aten::logcumsumexp", "...[dim:s]->...[dim:s]; whole: s"},
      {"aten::logsumexp", "...[dim:r]->...[dim:_]; whole: r"},
      {"aten::max", "...->(); max: ..."},
      {"aten::max.dim", "...[dim:r]->...[dim:_],...[dim:_]; whole: r"},
      {"aten::mean", "...->(); whole: ...; linear: 0"},
      {"aten::mean.dim", "...[dim:r]->...[dim:_]; whole: r; linear: 0"},
      {"aten::median", "...->(); whole: ..."},
      {"aten::median.dim", "...[dim:r]->...[dim:_],...[dim:_]; whole: r"},
      {"aten::min", "...->(); min: ..."},
      {"aten::min.dim", "...[dim:r]->...[dim:_],...[dim:_]; whole: r"},
      {"aten::mode", "...[dim:r]->...[dim:_],...[dim:_]; whole: r"},
      {"aten::nanmedian", "...->(); whole: ..."},
      {"aten::nanmedian.dim", "...[dim:r]->...[dim:_],...[dim:_]; whole: r"},
      {"aten::norm.Scalar", "...->(); whole: ..."},
      {"aten::norm.ScalarOpt_dim", "...[dim:r]->...[dim:_]; whole: r"},
      {"aten::prod", "...->(); whole: ..."},
      {"aten::prod.dim_int", "...[dim:r]->...[dim:_]; whole: r"},
      {"aten::std.correction", "...[dim:r]->...[dim:_]; whole: r"},
      {"aten::sum", "...->(); linear: 0"},
      {"aten::sum.dim_IntList", "...[dim:r]->...[dim:_]; linear: 0"},
      {"aten::var.correction", "...[dim:r]->...[dim:_]; whole: r"},
      {"aten::var_mean.correction", "...[dim:r]->...[dim:_],...[dim:_]; whole: r"},
  };
  return kRows;
}

}  // namespace shoal::ops
