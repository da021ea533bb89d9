#include "kernels/cpu/shape_rules.h"

#include <ATen/ExpandUtils.h>
#include <ATen/TensorIterator.h>
#include <ATen/WrapDimUtils.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/result_type.h>
#include <torch/library.h>

#include <cmath>
#include <unordered_map>

namespace shoal::kernels {
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

// Batch norms keep a dense layout (channels last, say) and make others contiguous.
Tensor dense_like(const Tensor& x) { return at::empty_like(x, x.options(), x.suggest_memory_format()); }

// The dtype of a batch norm's statistics: that of its parameters in a mixed call, else x's.
at::ScalarType batch_statistics_dtype(const Tensor& x, const Stack& s,
                                      std::initializer_list<size_t> parameters) {
  for (size_t i : parameters)
    if (s[i].isTensor() && s[i].toTensor().defined()) return s[i].toTensor().scalar_type();
  return x.scalar_type();
}

// (x, weight, bias, running_mean, running_var, training, momentum, eps) -> x-like, mean and 1/std by channel,
// empty when not training
void native_batch_norm(Stack& s) {
  const Tensor x = s[0].toTensor();
  const auto dtype = batch_statistics_dtype(x, s, {1, 3});
  const int64_t channels = s[5].toBool() ? x.size(1) : 0;
  s = {dense_like(x), empty({channels}, x, dtype), empty({channels}, x, dtype)};
}

// As native_batch_norm, and the new running statistics.
void native_batch_norm_functional(Stack& s) {
  const Tensor mean = s[3].toTensor(), var = s[4].toTensor();
  native_batch_norm(s);
  s.insert(s.end(), {contiguous_like(mean), contiguous_like(var)});
}

// (grad, x, weight, running_mean, running_var, mean, invstd, train, eps, mask[3]) -> for x, weight, bias
void native_batch_norm_backward(Stack& s) {
  const auto mask = s[9].toBoolList();
  const Tensor x = s[1].toTensor();
  const auto dtype = batch_statistics_dtype(x, s, {2, 3});
  const auto by_channel = [&](bool wanted) { return wanted ? empty({x.size(1)}, x, dtype) : Tensor(); };
  s = {mask[0] ? dense_like(x) : Tensor(), by_channel(mask[1]), by_channel(mask[2])};
}

// The CPU's convolutions work on channels last when either the input or the weight is.
at::MemoryFormat convolution_format(const Tensor& x, const Tensor& weight) {
  const auto format = x.suggest_memory_format();
  return format == at::MemoryFormat::Contiguous ? weight.suggest_memory_format() : format;
}

// (x [b,c,...], weight [o,c/groups,...], bias, stride, padding, dilation, transposed, output_padding, groups)
void convolution(Stack& s) {
  const Tensor x = s[0].toTensor(), weight = s[1].toTensor();
  const auto stride = s[3].toIntVector(), padding = s[4].toIntVector(), dilation = s[5].toIntVector(),
             output_padding = s[7].toIntVector();
  const auto at_dim = [](const std::vector<int64_t>& list, size_t dim) {
    return list[list.size() == 1 ? 0 : dim];
  };
  const bool transposed = s[6].toBool();
  std::vector<int64_t> sizes = {x.size(0), transposed ? weight.size(1) * s[8].toInt() : weight.size(0)};
  for (size_t dim = 0; dim + 2 < static_cast<size_t>(x.dim()); ++dim) {
    const int64_t size = x.size(static_cast<int64_t>(dim) + 2),
                  reach = at_dim(dilation, dim) * (weight.size(static_cast<int64_t>(dim) + 2) - 1);
    sizes.push_back(transposed ? (size - 1) * at_dim(stride, dim) - 2 * at_dim(padding, dim) + reach +
                                     at_dim(output_padding, dim) + 1
                               : (size + 2 * at_dim(padding, dim) - reach - 1) / at_dim(stride, dim) + 1);
    TORCH_CHECK(sizes.back() > 0, "the kernel is larger than the padded input (size ", size, ")");
  }
  s = {at::empty(sizes, x.options(), convolution_format(x, weight))};
}

// (grad, x, weight, bias_sizes, ..., mask[3]) -> for x, weight, bias
void convolution_backward(Stack& s) {
  const Tensor x = s[1].toTensor(), weight = s[2].toTensor();
  const auto mask = s[10].toBoolList();
  const auto format = convolution_format(x, weight);
  s = {mask[0] ? at::empty(x.sizes(), x.options(), format) : Tensor(),
       mask[1] ? at::empty(weight.sizes(), weight.options(), format) : Tensor(),
       mask[2] ? empty(s[3].toIntVector(), x) : Tensor()};
}

// (x, p, train) -> x-like, mask
void native_dropout(Stack& s) {
  const Tensor x = s[0].toTensor();
  s = {at::empty_like(x), at::empty_like(x, x.options().dtype(at::kBool))};
}

// (x, ...), drawn into a new tensor that does not take x's order in memory
void dense_as_first(Stack& s) { s = {contiguous_like(s[0].toTensor())}; }

// (mean, std), of which one may be a number
void normal_of_tensors(Stack& s) {
  const Tensor tensor = (s[0].isTensor() ? s[0] : s[1]).toTensor();
  s = {s[0].isTensor() && s[1].isTensor()
           ? empty(at::infer_size(tensor.sizes(), s[1].toTensor().sizes()), tensor)
           : contiguous_like(tensor)};
}

// (x, ..., dtype, layout, device, pin_memory, memory_format), of which dtype is number `dtype`
template <size_t dtype>
void like_first_as(Stack& s) {
  const Tensor x = s[0].toTensor();
  const auto type = s[dtype].isNone() ? x.scalar_type() : s[dtype].toScalarType();
  const c10::IValue format = s[dtype + 4];
  s = {at::empty_like(x, x.options().dtype(type),
                      format.isNone() ? std::nullopt : std::optional(format.toMemoryFormat()))};
}

// (weights [rows, classes] or [classes], num_samples, ...) -> as many classes of each row
void multinomial(Stack& s) {
  auto sizes = s[0].toTensor().sizes().vec();
  TORCH_CHECK(sizes.size() == 1 || sizes.size() == 2, "multinomial wants weights of one or two dims");
  sizes.back() = s[1].toInt();
  s = {empty(sizes, s[0].toTensor(), at::kLong)};
}

// (n, dtype, ...), of which dtype is number `dtype`
template <size_t dtype>
void randperm(Stack& s) {
  const at::ScalarType type =
      s[dtype].isNone() ? c10::get_default_dtype_as_scalartype() : s[dtype].toScalarType();
  s = {at::empty({s[0].toInt()}, at::TensorOptions().dtype(type).device(at::kMeta))};
}

// (x, noise, ...) -> x-like, noise
void rrelu_with_noise_functional(Stack& s) {
  s = {contiguous_like(s[0].toTensor()), contiguous_like(s[1].toTensor())};
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

// Of an operator that works element by element: broadcast.
Tensor pointwise_result(at::TensorList inputs, at::ScalarType dtype) {
  at::TensorIteratorConfig config;
  const Tensor undefined;
  config.check_all_same_dtype(false).declare_static_dtype_and_device(dtype, at::kMeta).add_output(undefined);
  for (const Tensor& input : inputs) config.add_const_input(input);
  at::TensorIterator iterator = config.build();
  return iterator.output();
}

// (condition, a, b)
void where(Stack& s) {
  const Tensor a = s[1].toTensor(), b = s[2].toTensor();
  s = {pointwise_result({s[0].toTensor(), a, b}, at::result_type(a, b))};
}

// (grad, x, y): contiguous, whatever x is
void loss_backward(Stack& s) {
  const Tensor x = s[1].toTensor();
  s = {empty(at::infer_size(s[0].toTensor().sizes(), at::infer_size(x.sizes(), s[2].toTensor().sizes())), x)};
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
      {"aten::_native_batch_norm_legit_functional", native_batch_norm_functional},
      {"aten::_sample_dirichlet", dense_as_first},
      {"aten::_scaled_dot_product_fused_attention_overrideable", attention},
      {"aten::_scaled_dot_product_fused_attention_overrideable_backward", attention_backward},
      {"aten::_standard_gamma", dense_as_first},
      {"aten::abs", same_as_first},
      {"aten::arange", arange},
      {"aten::arange.start", arange_start},
      {"aten::arange.start_step", arange_start_step},
      {"aten::bernoulli", dense_as_first},
      {"aten::bernoulli.Tensor", same_as_first},
      {"aten::bernoulli.p", same_as_first},
      {"aten::binary_cross_entropy_with_logits", binary_cross_entropy_with_logits},
      {"aten::binomial", dense_as_first},
      {"aten::cauchy", same_as_first},
      {"aten::convolution", convolution},
      {"aten::convolution_backward", convolution_backward},
      {"aten::embedding", embedding},
      {"aten::embedding_dense_backward", embedding_dense_backward},
      {"aten::exponential", same_as_first},
      {"aten::flip", same_as_first},
      {"aten::geometric", same_as_first},
      {"aten::index_select", index_select},
      {"aten::log_normal", same_as_first},
      {"aten::logsumexp", logsumexp},
      {"aten::mse_loss_backward", loss_backward},
      {"aten::multinomial", multinomial},
      {"aten::native_batch_norm", native_batch_norm},
      {"aten::native_batch_norm_backward", native_batch_norm_backward},
      {"aten::native_dropout", native_dropout},
      {"aten::native_dropout_backward", same_as_first},
      {"aten::native_layer_norm", native_layer_norm},
      {"aten::native_layer_norm_backward", native_layer_norm_backward},
      {"aten::normal.Tensor_Tensor", normal_of_tensors},
      {"aten::normal.Tensor_float", normal_of_tensors},
      {"aten::normal.float_Tensor", normal_of_tensors},
      {"aten::normal_functional", same_as_first},
      {"aten::poisson", dense_as_first},
      {"aten::random", same_as_first},
      {"aten::random.from", same_as_first},
      {"aten::random.to", same_as_first},
      {"aten::randint_like.Tensor", like_first_as<2>},
      {"aten::randint_like.Tensor_generator", like_first_as<3>},
      {"aten::randperm", randperm<1>},
      {"aten::randperm.generator", randperm<2>},
      {"aten::relu", same_as_first},
      {"aten::rrelu_with_noise_functional", rrelu_with_noise_functional},
      {"aten::smooth_l1_loss_backward", loss_backward},
      {"aten::std.correction", variance},
      {"aten::uniform", same_as_first},
      {"aten::var.correction", variance},
      {"aten::where.self", where},
  };
  return table;
}

// Functionalization asks Meta about in-place operators, too, and LibTorch has no Meta kernel for these.
Tensor& take_shape(Tensor& out, const Tensor& of) {
  out.resize_(of.sizes());
  out.as_strided_(of.sizes(), of.strides());
  return out;
}
Tensor& logical_meta(const Tensor& a, const Tensor& b, Tensor& out) {
  return take_shape(out, pointwise_result({a, b}, at::kBool));
}
Tensor& logical_not_meta(const Tensor& a, Tensor& out) {
  return take_shape(out, pointwise_result({a}, at::kBool));
}
TORCH_LIBRARY_IMPL(aten, Meta, library) {
  for (const char* name : {"logical_and.out", "logical_or.out", "logical_xor.out"})
    library.impl(name, &logical_meta);
  library.impl("logical_not.out", &logical_not_meta);
}

}  // namespace

bool apply_shape_rule(const std::string& op, Stack& stack) {
  const auto rule = rules().find(op);
  if (rule == rules().end()) return false;
  rule->second(stack);
  return true;
}

}  // namespace shoal::kernels
