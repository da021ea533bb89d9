#include "capture/shape_rules.h"

#include <ATen/ExpandUtils.h>
#include <ATen/WrapDimUtils.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/result_type.h>

#include <cmath>
#include <unordered_map>

namespace shoal::capture {
namespace {

using at::Tensor;
using Stack = torch::jit::Stack;
using ShapeRule = void (*)(Stack&);

Tensor empty(at::IntArrayRef sizes, const Tensor& like) { return at::empty(sizes, like.options()); }
Tensor empty(at::IntArrayRef sizes, const Tensor& like, at::ScalarType dtype) {
  return at::empty(sizes, like.options().dtype(dtype));
}

// The dtype that LibTorch's normalisations accumulate statistics in.
at::ScalarType statistics_dtype(const Tensor& x) {
  return at::isReducedFloatingType(x.scalar_type()) ? at::kFloat : x.scalar_type();
}

Tensor contiguous_like(const Tensor& t) { return empty(t.sizes(), t); }

Tensor optional_like(const c10::IValue& value) {
  return value.isTensor() && value.toTensor().defined() ? contiguous_like(value.toTensor()) : Tensor();
}

void same_as_first(Stack& s) { s = {at::empty_like(s[0].toTensor())}; }
void same_as_second(Stack& s) { s = {at::empty_like(s[1].toTensor())}; }

// (weight [v,d], indices [...]) -> [..., d]
void embedding(Stack& s) {
  auto sizes = s[1].toTensor().sizes().vec();
  sizes.push_back(s[0].toTensor().size(1));
  s = {empty(sizes, s[0].toTensor())};
}

// (grad [..., d], indices, num_weights, ...) -> [num_weights, d]
void embedding_dense_backward(Stack& s) {
  s = {empty({s[2].toInt(), s[0].toTensor().size(-1)}, s[0].toTensor())};
}

// (x, normalized_shape, weight, bias, eps) -> x-like, mean and rstd over the normalised dims. In bf16 the
// statistics take the dtype of a mixed call (fp32 weights) or of x.
void native_layer_norm(Stack& s) {
  const Tensor x = s[0].toTensor();
  const auto normalized = s[1].toIntVector();
  std::vector<int64_t> rows(x.sizes().begin(), x.sizes().end() - static_cast<int64_t>(normalized.size()));
  rows.resize(static_cast<size_t>(x.dim()), 1);
  const bool mixed =
      s[2].isTensor() && s[2].toTensor().defined() && s[2].toTensor().scalar_type() != x.scalar_type();
  const auto dtype = mixed ? statistics_dtype(x) : x.scalar_type();
  s = {contiguous_like(x), empty(rows, x, dtype), empty(rows, x, dtype)};
}

// (grad, x, normalized_shape, mean, rstd, weight, bias, mask[3]) -> for x, weight, bias
void native_layer_norm_backward(Stack& s) {
  const auto mask = s[7].toBoolList();
  const Tensor x = s[1].toTensor();
  const c10::IValue weight = s[5], bias = s[6];
  s = {mask[0] ? contiguous_like(x) : Tensor(), mask[1] ? optional_like(weight) : Tensor(),
       mask[2] ? optional_like(bias) : Tensor()};
}

// (x, p, train) -> x-like, mask
void native_dropout(Stack& s) {
  const Tensor x = s[0].toTensor();
  s = {at::empty_like(x), at::empty_like(x, x.options().dtype(at::kBool))};
}

// query [b,h,t,d] -> output laid out as the query is, log-sum-exp as [b,t,h] seen transposed: what the CPU's
// flash kernel makes.
void attention(Stack& s) {
  const Tensor q = s[0].toTensor();
  const int64_t b = q.size(0), h = q.size(1), t = q.size(2);
  const Tensor output = at::empty_like(q.transpose(1, 2)).transpose(1, 2);
  const Tensor lse = empty({b, t, h}, q, statistics_dtype(q)).transpose(1, 2);
  s = {output, lse, Tensor(), Tensor(), t, s[1].toTensor().size(2), Tensor(), Tensor(), Tensor()};
}

// (grad, q, k, v, bias, mask[4], ...) -> for q, k, v, bias
void attention_backward(Stack& s) {
  const auto like = [](const Tensor& t) {
    return empty({t.size(0), t.size(2), t.size(1), t.size(3)}, t).transpose(1, 2);
  };
  s = {like(s[1].toTensor()), like(s[2].toTensor()), like(s[3].toTensor()), Tensor()};
}

Tensor arange_result(const c10::Scalar& start, const c10::Scalar& end, const c10::Scalar& step,
                     const c10::IValue& dtype) {
  const bool integral = start.isIntegral(true) && end.isIntegral(true) && step.isIntegral(true);
  const at::ScalarType type =
      dtype.isNone() ? (integral ? at::kLong : c10::get_default_dtype_as_scalartype()) : dtype.toScalarType();
  const double count = std::ceil((end.toDouble() - start.toDouble()) / step.toDouble());
  return at::empty({static_cast<int64_t>(count)}, at::TensorOptions().dtype(type).device(at::kMeta));
}
void arange(Stack& s) { s = {arange_result(0, s[0].toScalar(), 1, s[1])}; }
void arange_start(Stack& s) { s = {arange_result(s[0].toScalar(), s[1].toScalar(), 1, s[2])}; }
void arange_start_step(Stack& s) {
  s = {arange_result(s[0].toScalar(), s[1].toScalar(), s[2].toScalar(), s[3])};
}

// (condition, a, b)
void where(Stack& s) {
  const Tensor a = s[1].toTensor(), b = s[2].toTensor();
  const auto sizes = at::infer_size(s[0].toTensor().sizes(), at::infer_size(a.sizes(), b.sizes()));
  s = {at::empty(sizes, a.options().dtype(at::result_type(a, b)))};
}

// (x, dims or none, ..., keepdim): sizes with these dims dropped or 1
Tensor reduced(const Tensor& x, const c10::IValue& dims, bool keep) {
  std::vector<bool> drop(static_cast<size_t>(x.dim()), dims.isNone() || dims.toIntVector().empty());
  if (!dims.isNone())
    for (int64_t dim : dims.toIntVector()) drop[static_cast<size_t>(at::maybe_wrap_dim(dim, x.dim()))] = true;
  std::vector<int64_t> sizes;
  for (int64_t dim = 0; dim < x.dim(); ++dim) {
    if (!drop[static_cast<size_t>(dim)])
      sizes.push_back(x.size(dim));
    else if (keep)
      sizes.push_back(1);
  }
  return empty(sizes, x);
}
void variance(Stack& s) { s = {reduced(s[0].toTensor(), s[1], s[3].toBool())}; }
void logsumexp(Stack& s) { s = {reduced(s[0].toTensor(), s[1], s[2].toBool())}; }

// (x, dim, index [n])
void index_select(Stack& s) {
  auto sizes = s[0].toTensor().sizes().vec();
  if (!sizes.empty())
    sizes[static_cast<size_t>(at::maybe_wrap_dim(s[1].toInt(), s[0].toTensor().dim()))] =
        s[2].toTensor().numel();
  s = {empty(sizes, s[0].toTensor())};
}

// (input, target, weight, pos_weight, reduction)
void binary_cross_entropy_with_logits(Stack& s) {
  const Tensor x = s[0].toTensor();
  s = {s[4].toInt() == 0 ? at::empty_like(x) : empty({}, x)};
}

const std::unordered_map<std::string, ShapeRule>& rules() {
  static const std::unordered_map<std::string, ShapeRule> table = {
      {"aten::_scaled_dot_product_fused_attention_overrideable", attention},
      {"aten::_scaled_dot_product_fused_attention_overrideable_backward", attention_backward},
      {"aten::abs", same_as_first},
      {"aten::arange", arange},
      {"aten::arange.start", arange_start},
      {"aten::arange.start_step", arange_start_step},
      {"aten::binary_cross_entropy_with_logits", binary_cross_entropy_with_logits},
      {"aten::embedding", embedding},
      {"aten::embedding_dense_backward", embedding_dense_backward},
      {"aten::flip", same_as_first},
      {"aten::index_select", index_select},
      {"aten::logical_and",
       [](Stack& s) { s = {at::empty_like(s[0].toTensor(), s[0].toTensor().options().dtype(at::kBool))}; }},
      {"aten::logsumexp", logsumexp},
      {"aten::mse_loss_backward", same_as_second},
      {"aten::native_dropout", native_dropout},
      {"aten::native_dropout_backward", same_as_first},
      {"aten::native_layer_norm", native_layer_norm},
      {"aten::native_layer_norm_backward", native_layer_norm_backward},
      {"aten::relu", same_as_first},
      {"aten::smooth_l1_loss_backward", same_as_second},
      {"aten::std.correction", variance},
      {"aten::var.correction", variance},
      {"aten::where.self", where},
  };
  return table;
}

}  // namespace

bool apply_shape_rule(const std::string& op, Stack& stack) {
  const auto rule = rules().find(op);
  if (rule == rules().end()) return false;
  rule->second(stack);
  return true;
}

}  // namespace shoal::capture
