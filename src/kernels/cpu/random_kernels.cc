// From the top: distributions, one number for each element; results; the table. What is drawn otherwise is in
// random_choices.cc.
#include "kernels/cpu/random_kernels.h"

#include <ATen/ExpandUtils.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/view_as_real.h>

#include <unordered_map>

#include "kernels/cpu/random_choices.h"
#include "kernels/cpu/random_stream.h"

namespace shoal::kernels {
namespace {

using at::Tensor;
using torch::jit::Stack;
using Context = KernelContext;

// --- Distributions: (result, arguments, positions of its parameters) ---

// A floating dtype: how many digits its numbers have, and a number rounded to one of them. By a pointer: GCC 12,
// when it vectorises, leaves out a rounding from double to float and back that it can see.
struct Digits {
  int count;
  double (*rounded)(double);
};
template <class T>
double rounded_to(double value) {
  return static_cast<double>(static_cast<T>(value));
}
Digits digits_of(at::ScalarType dtype) {
  switch (dtype) {
    case at::kDouble:
      return {53, rounded_to<double>};
    case at::kHalf:
      return {11, rounded_to<at::Half>};
    case at::kBFloat16:
      return {8, rounded_to<at::BFloat16>};
    default:
      return {24, rounded_to<float>};
  }
}

// Multiples of 2^-digits of the range: between 0 and 1 none of them is rounded, to 1 least of all.
void uniform(const Tensor& out, double from, double to, const Context& context) {
  require(from <= to, "uniform: it wants from <= to; the length of the range is", to - from);
  const Digits digits = digits_of(out.scalar_type());
  const double step = std::ldexp(to - from, -digits.count);
  fill(out, context, [&](uint64_t bits, int64_t) {
    const double value = digits.rounded(from + static_cast<double>(bits >> (64 - digits.count)) * step);
    // What is rounded up to the end goes to the beginning, which has half of the numbers that others have.
    return value < to ? value : from;
  });
}
void uniform_unit(const Tensor& out, const Stack&, const Context& context) {
  uniform(out.is_complex() ? at::view_as_real(out) : out, 0, 1, context);
}
void uniform_range(const Tensor& out, const Stack& s, const Context& context) {
  uniform(out, number(s[1]), number(s[2]), context);
}

void normal(const Tensor& out, const PerElement& mean, const PerElement& deviation, const Context& context) {
  const Stream stream(context);
  const int64_t last = std::max<int64_t>(out.numel() - 1, 0);
  fill_pairs(out, [&](int64_t pair) {
    auto numbers = normal_pair(stream.pair(pair));
    for (int64_t i : {0, 1}) {
      const int64_t element = std::min(2 * pair + i, last);
      double& z = numbers[static_cast<size_t>(i)];
      z = mean(element) + deviation(element) * z;
    }
    return numbers;
  });
}
void standard_normal(const Tensor& out, const Stack&, const Context& context) {
  if (out.is_complex())  // of variance 1, half of it each
    normal(at::view_as_real(out), 0, std::sqrt(0.5), context);
  else
    normal(out, 0, 1, context);
}
template <size_t mean, size_t deviation>
void normal_of_numbers(const Tensor& out, const Stack& s, const Context& context) {
  require(number(s[deviation]) >= 0, "normal: it wants a standard deviation of 0 or more",
          number(s[deviation]));
  normal(out, number(s[mean]), number(s[deviation]), context);
}
// (mean, std), of which one is a number or none is
void normal_of_tensors(const Tensor& out, const Stack& s, const Context& context) {
  const auto parameter = [&](const c10::IValue& value) {
    return value.isTensor() ? PerElement(value.toTensor(), out) : PerElement(number(value));
  };
  const PerElement deviation = parameter(s[1]);
  for (int64_t i = 0; i < out.numel(); ++i)
    require(deviation(i) >= 0, "normal: it wants standard deviations of 0 or more", deviation(i));
  normal(out, parameter(s[0]), deviation, context);
}
void log_normal(const Tensor& out, const Stack& s, const Context& context) {
  const double mean = number(s[1]), deviation = number(s[2]);
  require(deviation > 0, "log_normal: it wants a standard deviation above 0", deviation);
  const Stream stream(context);
  fill_pairs(out, [&](int64_t pair) {
    auto numbers = normal_pair(stream.pair(pair));
    for (double& z : numbers) z = natural_exp(mean + deviation * z);
    return numbers;
  });
}

void exponential(const Tensor& out, const Stack& s, const Context& context) {
  const double rate = number(s[1]);
  require(rate > 0, "exponential: it wants a rate above 0", rate);
  // Never 0: its logarithm is wanted for Gumbel's numbers.
  fill(out, context, [&](uint64_t bits, int64_t) { return -natural_log(open_unit_of(bits)) / rate; });
}
void cauchy(const Tensor& out, const Stack& s, const Context& context) {
  const double median = number(s[1]), scale = number(s[2]);
  require(scale > 0, "cauchy: it wants a scale above 0", scale);
  fill(out, context, [&](uint64_t bits, int64_t) {
    const auto [sine, cosine] = sine_and_cosine(open_unit_of(bits) / 2);
    return median - scale * cosine / sine;
  });
}
void geometric(const Tensor& out, const Stack& s, const Context& context) {
  const double p = number(s[1]);
  require(p > 0 && p < 1, "geometric: it wants a probability between 0 and 1", p);
  const double log_of_failure = natural_log(1 - p);
  fill(out, context, [&](uint64_t bits, int64_t) {
    return std::max(1.0, std::ceil(natural_log(open_unit_of(bits)) / log_of_failure));
  });
}

void bernoulli(const Tensor& out, const PerElement& p, const Context& context) {
  for (int64_t i = 0; i < out.numel(); ++i)
    require(p(i) >= 0 && p(i) <= 1, "bernoulli: it wants probabilities from 0 to 1", p(i));
  fill(out, context,
       [&](uint64_t bits, int64_t element) { return unit_of(bits) < p(element) ? int64_t{1} : int64_t{0}; });
}
void bernoulli_of_self(const Tensor& out, const Stack& s, const Context& context) {
  bernoulli(out, PerElement(s[0].toTensor(), out), context);
}
void bernoulli_of_number(const Tensor& out, const Stack& s, const Context& context) {
  bernoulli(out, number(s[1]), context);
}
void bernoulli_of_tensor(const Tensor& out, const Stack& s, const Context& context) {
  bernoulli(out, PerElement(s[1].toTensor(), out), context);
}

/// Whole numbers in [from, from + count).
void whole_numbers(const Tensor& out, int64_t from, uint64_t count, const Context& context) {
  fill(out, context, [&](uint64_t bits, int64_t) {
    return static_cast<int64_t>(static_cast<uint64_t>(from) + below(bits, count));
  });
}
void whole_numbers(const Tensor& out, int64_t from, int64_t to, const Context& context) {
  if (from >= to)
    throw std::invalid_argument(
        cat("it draws whole numbers from ", from, " to below ", to, ", which are none"));
  whole_numbers(out, from, static_cast<uint64_t>(to) - static_cast<uint64_t>(from), context);
}
template <size_t high>
void below_high(const Tensor& out, const Stack& s, const Context& context) {
  whole_numbers(out, 0, s[high].toInt(), context);
}
template <size_t low>
void from_low_to_high(const Tensor& out, const Stack& s, const Context& context) {
  whole_numbers(out, s[low].toInt(), s[low + 1].toInt(), context);
}
void below_tensor(const Tensor& out, const Stack& s, const Context& context) {
  whole_numbers(out, 0, s[1].toTensor().item<int64_t>(), context);
}
// The largest whole number up to which a dtype has all.
int64_t last_whole_number(at::ScalarType dtype) {
  if (at::isFloatingType(dtype)) return int64_t{1} << digits_of(dtype).count;
  int64_t last = 1;
  if (dtype != at::kBool)
    AT_DISPATCH_INTEGRAL_TYPES(dtype, "random", [&] { last = std::numeric_limits<scalar_t>::max(); });
  return last;
}
void any_whole_number(const Tensor& out, const Stack&, const Context& context) {
  whole_numbers(out, 0, static_cast<uint64_t>(last_whole_number(out.scalar_type())) + 1, context);
}
void from_to_or_last(const Tensor& out, const Stack& s, const Context& context) {
  const int64_t from = s[1].toInt();
  if (!s[2].isNone()) return whole_numbers(out, from, s[2].toInt(), context);
  const auto last = static_cast<uint64_t>(last_whole_number(out.scalar_type()));
  whole_numbers(out, from, last - static_cast<uint64_t>(from) + 1, context);
}

// --- Results: dense, as capture predicts them (Device::infer_shapes) ---

std::optional<at::ScalarType> optional_dtype(const c10::IValue& value) {
  return value.isNone() ? std::nullopt : std::optional(value.toScalarType());
}
std::optional<at::MemoryFormat> optional_format(const c10::IValue& value) {
  return value.isNone() ? std::nullopt : std::optional(value.toMemoryFormat());
}

/// (..., size at `size`, ..., dtype at `dtype`, layout, device, pin_memory)
template <size_t size, size_t dtype>
Tensor of_size(const Stack& s) {
  return at::empty(s[size].toIntVector(), at::TensorOptions().dtype(optional_dtype(s[dtype])));
}
/// (self, ..., dtype at `dtype`, layout, device, pin_memory, memory_format)
template <size_t dtype>
Tensor like_self_as(const Stack& s) {
  return at::empty_like(s[0].toTensor(), at::TensorOptions().dtype(optional_dtype(s[dtype])),
                        optional_format(s[dtype + 4]));
}
Tensor like_self(const Stack& s) { return at::empty_like(s[0].toTensor()); }
Tensor dense_self(const Stack& s) { return at::empty(s[0].toTensor().sizes(), s[0].toTensor().options()); }
// Of whichever are tensors.
Tensor broadcast(const Stack& s) {
  const Tensor& tensor = (s[0].isTensor() ? s[0] : s[1]).toTensor();
  const bool both = s[0].isTensor() && s[1].isTensor();
  return at::empty(both ? at::infer_size(tensor.sizes(), s[1].toTensor().sizes()) : tensor.sizes().vec(),
                   tensor.options());
}

template <Tensor (*make)(const Stack&), void (*draw)(const Tensor&, const Stack&, const Context&)>
void drawn(Stack& s, const Context& context) {
  const Tensor out = make(s);
  draw(out, s, context);
  s = {out};
}

}  // namespace

Kernel find_random_kernel(const std::string& op) {
  static const std::unordered_map<std::string, Kernel> table = {
      {"aten::bernoulli", drawn<dense_self, bernoulli_of_self>},
      {"aten::bernoulli.Tensor", drawn<like_self, bernoulli_of_tensor>},
      {"aten::bernoulli.p", drawn<like_self, bernoulli_of_number>},
      {"aten::cauchy", drawn<like_self, cauchy>},
      {"aten::exponential", drawn<like_self, exponential>},
      {"aten::geometric", drawn<like_self, geometric>},
      {"aten::log_normal", drawn<like_self, log_normal>},
      {"aten::multinomial", multinomial},
      {"aten::native_dropout", dropout},
      {"aten::normal.Tensor_Tensor", drawn<broadcast, normal_of_tensors>},
      {"aten::normal.Tensor_float", drawn<broadcast, normal_of_tensors>},
      {"aten::normal.float_Tensor", drawn<broadcast, normal_of_tensors>},
      {"aten::normal.float_float", drawn<of_size<2, 4>, normal_of_numbers<0, 1>>},
      {"aten::normal_functional", drawn<like_self, normal_of_numbers<1, 2>>},
      {"aten::poisson", poisson},
      {"aten::rand", drawn<of_size<0, 1>, uniform_unit>},
      {"aten::rand.generator", drawn<of_size<0, 2>, uniform_unit>},
      {"aten::rand_like", drawn<like_self_as<1>, uniform_unit>},
      {"aten::rand_like.generator", drawn<like_self_as<2>, uniform_unit>},
      {"aten::randint", drawn<of_size<1, 2>, below_high<0>>},
      {"aten::randint.generator", drawn<of_size<1, 3>, below_high<0>>},
      {"aten::randint.low", drawn<of_size<2, 3>, from_low_to_high<0>>},
      {"aten::randint.low_generator", drawn<of_size<2, 4>, from_low_to_high<0>>},
      {"aten::randint_like", drawn<like_self_as<2>, below_high<1>>},
      {"aten::randint_like.Tensor", drawn<like_self_as<2>, below_tensor>},
      {"aten::randint_like.Tensor_generator", drawn<like_self_as<3>, below_tensor>},
      {"aten::randint_like.generator", drawn<like_self_as<3>, below_high<1>>},
      {"aten::randint_like.low_dtype", drawn<like_self_as<3>, from_low_to_high<1>>},
      {"aten::randint_like.low_generator_dtype", drawn<like_self_as<4>, from_low_to_high<1>>},
      {"aten::randn", drawn<of_size<0, 1>, standard_normal>},
      {"aten::randn.generator", drawn<of_size<0, 2>, standard_normal>},
      {"aten::randn_like", drawn<like_self_as<1>, standard_normal>},
      {"aten::randn_like.generator", drawn<like_self_as<2>, standard_normal>},
      {"aten::random", drawn<like_self, any_whole_number>},
      {"aten::random.from", drawn<like_self, from_to_or_last>},
      {"aten::random.to", drawn<like_self, below_high<1>>},
      {"aten::randperm", randperm},
      {"aten::randperm.generator", randperm_generator},
      {"aten::rrelu_with_noise_functional", rrelu},
      {"aten::uniform", drawn<like_self, uniform_range>},
  };
  const auto found = table.find(op);
  return found == table.end() ? nullptr : found->second;
}

}  // namespace shoal::kernels
