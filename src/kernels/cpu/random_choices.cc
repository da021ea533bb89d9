#include "kernels/cpu/random_choices.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/gt.h>
#include <ATen/ops/leaky_relu.h>
#include <ATen/ops/mul.h>

#include <span>

#include "kernels/cpu/random_stream.h"

namespace shoal::kernels {
namespace {

using at::Tensor;
using torch::jit::Stack;

// Multiplied uniform numbers for small rates; for others transformed rejection (W. Hoermann, "The transformed
// rejection method for generating Poisson random variables", 1993), with log k! by Stirling's series.
double log_factorial(double k) {
  double shift = 0;
  double n = k + 1;  // log gamma(n)
  for (; n < 10; n += 1) shift += natural_log(n);
  const double z = 1 / (n * n);
  return (n - 0.5) * natural_log(n) - n + 0.5 * natural_log(2 * kPi) +
         (1.0 / 12 - z * (1.0 / 360 - z * (1.0 / 1260 - z / 1680))) / n - shift;
}
double poisson_number(const Stream& stream, int64_t element, double rate) {
  uint64_t attempt = 0;
  if (rate < 10) {
    const double limit = natural_exp(-rate);
    double product = open_unit_of(stream.bits(element, attempt)), count = 0;
    for (; product > limit; ++count) product *= open_unit_of(stream.bits(element, ++attempt));
    return count;
  }
  const double b = 0.931 + 2.53 * std::sqrt(rate), a = -0.059 + 0.02483 * b;
  const double alpha = 1.1239 + 1.1328 / (b - 3.4), accepted_at_once = 0.9277 - 3.6224 / (b - 2);
  const double log_rate = natural_log(rate);
  for (;; attempt += 2) {
    const double u = open_unit_of(stream.bits(element, attempt)) - 0.5;
    const double v = open_unit_of(stream.bits(element, attempt + 1)), from_edge = 0.5 - std::abs(u);
    const double k = std::floor((2 * a / from_edge + b) * u + rate + 0.43);
    if (from_edge >= 0.07 && v <= accepted_at_once) return k;
    if (k < 0 || (from_edge < 0.013 && v > from_edge)) continue;
    if (natural_log(v * alpha / (a / (from_edge * from_edge) + b)) <= k * log_rate - rate - log_factorial(k))
      return k;
  }
}

// The order of n random numbers.
void permute(Stack& s, size_t dtype, const KernelContext& context) {
  const Stream stream(context);
  std::vector<std::pair<uint64_t, int64_t>> keys;
  for (int64_t i = 0; i < s[0].toInt(); ++i) keys.emplace_back(stream.bits(i), i);
  std::sort(keys.begin(), keys.end());
  const Tensor order = at::empty({s[0].toInt()}, at::kLong);
  for (size_t i = 0; i < keys.size(); ++i) order.mutable_data_ptr<int64_t>()[i] = keys[i].second;
  s = {order.to(s[dtype].isNone() ? c10::get_default_dtype_as_scalartype() : s[dtype].toScalarType())};
}

// Each class waits for an exponential time, shorter the more it weighs; the first ones are taken, in order:
// what drawing one after the other, each from what is left, gives.
void take_without_replacement(const double* weights, int64_t classes, int64_t row, std::span<int64_t> taken,
                              const Stream& stream) {
  std::vector<std::pair<double, int64_t>> times;
  for (int64_t i = 0; i < classes; ++i)
    times.emplace_back(-natural_log(open_unit_of(stream.bits(row * classes + i))) / weights[i], i);
  const auto end = times.begin() + static_cast<std::ptrdiff_t>(taken.size());
  std::partial_sort(times.begin(), end, times.end());
  for (size_t i = 0; i < taken.size(); ++i) taken[i] = times[i].second;
}
void take_with_replacement(const double* weights, int64_t classes, int64_t row, std::span<int64_t> taken,
                           const Stream& stream) {
  std::vector<double> sums;
  double sum = 0;
  for (int64_t i = 0; i < classes; ++i) sums.push_back(sum += weights[i]);
  // Rounding may give the sum of all; the last one that weighs anything has it.
  const auto last = std::lower_bound(sums.begin(), sums.end(), sum) - sums.begin();
  for (size_t i = 0; i < taken.size(); ++i) {
    const double at = unit_of(stream.bits(row * std::ssize(taken) + static_cast<int64_t>(i))) * sum;
    taken[i] = std::min(std::upper_bound(sums.begin(), sums.end(), at) - sums.begin(), last);
  }
}

// keep[i] = word(i) >= threshold, where word(i) is one 32-bit number of Philox for element i: four elements
// share a counter.
#if defined(__x86_64__)
__attribute__((target_clones("avx512f", "avx2", "default")))
#endif
void draw_mask(uint64_t key, uint64_t stream, uint32_t threshold, bool* keep, int64_t count) {
  constexpr int64_t kGroup = 16;
  int64_t element = 0;
  for (; element + 4 * kGroup <= count; element += 4 * kGroup) {
    bool lanes[4][kGroup];
    for (int64_t g = 0; g < kGroup; ++g) {
      const auto words = philox(key, stream, static_cast<uint64_t>(element / 4 + g));
      for (int w = 0; w < 4; ++w) lanes[w][g] = words[static_cast<size_t>(w)] >= threshold;
    }
    for (int64_t g = 0; g < kGroup; ++g)
      for (int w = 0; w < 4; ++w) keep[element + 4 * g + w] = lanes[w][g];
  }
  for (; element < count; ++element)
    keep[element] = philox(key, stream,
                           static_cast<uint64_t>(element / 4))[static_cast<size_t>(element % 4)] >= threshold;
}

}  // namespace

// (rates)
void poisson(Stack& s, const KernelContext& context) {
  const Tensor out = at::empty(s[0].toTensor().sizes(), s[0].toTensor().options());
  const PerElement rate(s[0].toTensor(), out);
  for (int64_t i = 0; i < out.numel(); ++i)
    require(rate(i) >= 0 && std::isfinite(rate(i)), "poisson: it wants rates of 0 or more", rate(i));
  const Stream stream(context);
  const int64_t last = std::max<int64_t>(out.numel() - 1, 0);
  fill_pairs(out, [&](int64_t pair) {
    const int64_t second = std::min(2 * pair + 1, last);
    return std::array{poisson_number(stream, 2 * pair, rate(2 * pair)),
                      poisson_number(stream, second, rate(second))};
  });
  s = {out};
}

void randperm(Stack& s, const KernelContext& context) { permute(s, 1, context); }
void randperm_generator(Stack& s, const KernelContext& context) { permute(s, 2, context); }

// (weights [rows, classes] or [classes], num_samples, replacement) -> classes
void multinomial(Stack& s, const KernelContext& context) {
  const Tensor self = s[0].toTensor();
  const int64_t classes = self.size(-1), count = s[1].toInt();
  const int64_t rows = self.dim() == 2 ? self.size(0) : 1;
  const bool replacement = s[2].toBool();
  require(count > 0, "multinomial: it wants to draw 1 or more", static_cast<double>(count));
  require(replacement || count <= classes, "multinomial: without replacement it draws no more than there are",
          static_cast<double>(count));
  const Tensor weights = self.to(at::kDouble).contiguous();
  std::vector<int64_t> shape{count};
  if (self.dim() == 2) shape.insert(shape.begin(), rows);
  const Tensor out = at::empty(shape, at::kLong);
  const Stream stream(context);
  for (int64_t row = 0; row < rows; ++row) {
    const double* weight = weights.const_data_ptr<double>() + row * classes;
    double sum = 0;
    for (int64_t i = 0; i < classes; ++i) {
      require(weight[i] >= 0, "multinomial: it wants weights of 0 or more", weight[i]);
      sum += weight[i];
    }
    require(sum > 0 && std::isfinite(sum), "multinomial: it wants weights whose sum is above 0 and finite",
            sum);
    (replacement ? take_with_replacement : take_without_replacement)(
        weight, classes, row, {out.mutable_data_ptr<int64_t>() + row * count, static_cast<size_t>(count)},
        stream);
  }
  s = {out};
}

// (self, noise, lower, upper, training) -> self * noise, noise: a slope between lower and upper below 0, and
// 1 above
void rrelu(Stack& s, const KernelContext& context) {
  const Tensor self = s[0].toTensor();
  const double lower = number(s[2]), upper = number(s[3]);
  if (!s[4].toBool()) {
    s = {at::leaky_relu(self, (lower + upper) / 2).contiguous(),
         s[1].toTensor().clone(at::MemoryFormat::Contiguous)};
    return;
  }
  const Tensor noise = at::empty(self.sizes(), self.options());
  fill(noise, context, [&](uint64_t bits, int64_t) { return lower + unit_of(bits) * (upper - lower); });
  noise.masked_fill_(at::gt(self, 0), 1);
  s = {at::mul(self, noise).contiguous(), noise};
}

// (x, p, train) -> x * mask / (1 - p), mask
void dropout(Stack& s, const KernelContext& context) {
  const Tensor x = s[0].toTensor();
  const double p = s[1].toDouble();
  const bool train = s[2].isNone() || s[2].toBool();
  const Tensor mask = at::empty_like(x, x.options().dtype(at::kBool));
  if (!train || p == 0) {
    mask.fill_(true);
    s = {x.clone(), mask};
    return;
  }
  const Stream stream(context);
  const auto threshold = static_cast<uint32_t>(std::min(p * 0x1p32, 0x1p32 - 1));
  draw_mask(stream.key(), stream.number(), threshold, mask.mutable_data_ptr<bool>(), mask.numel());
  const double scale = p < 1 ? 1.0 / (1.0 - p) : 0.0;
  s = {at::mul(x, mask).mul_(scale), mask};
}

}  // namespace shoal::kernels
