// How a kernel draws by counter: the words of a node's stream, and numbers made of them, written to memory.
#pragma once

#include <ATen/Dispatch.h>
#include <ATen/ops/empty_like.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <stdexcept>

#include "base/elementary.h"
#include "base/random.h"
#include "base/text.h"
#include "kernels/kernel.h"

namespace shoal::kernels {

/// 64 bits for each element of what a node draws.
class Stream {
 public:
  explicit Stream(const KernelContext& context)
      : key_(random_bits(context.random.seed, static_cast<uint64_t>(context.random.step),
                         static_cast<uint64_t>(context.random.microbatch))),
        number_(static_cast<uint64_t>(context.stream)) {}

  /// 64 bits for each of elements 2 pair and 2 pair + 1. A distribution that rejects some asks again.
  std::array<uint64_t, 2> pair(int64_t pair, uint64_t attempt = 0) const {
    const auto words = philox(key_, number_ | attempt << 32, static_cast<uint64_t>(pair));
    return {uint64_t{words[1]} << 32 | words[0], uint64_t{words[3]} << 32 | words[2]};
  }
  uint64_t bits(int64_t element, uint64_t attempt = 0) const {
    return pair(element / 2, attempt)[static_cast<size_t>(element % 2)];
  }

  // For elements of 32 bits.
  uint64_t key() const { return key_; }
  uint64_t number() const { return number_; }

 private:
  uint64_t key_, number_;
};

/// In [0, 1), a multiple of 2^-53.
inline double unit_of(uint64_t bits) { return static_cast<double>(bits >> 11) * 0x1p-53; }
/// In (0, 1): for logarithms.
inline double open_unit_of(uint64_t bits) { return (static_cast<double>(bits >> 12) + 0.5) * 0x1p-52; }

/// Below `count` (0: all 2^64 numbers are wanted). The high half of a product: one number is more probable
/// than another by count / 2^64 at most.
inline uint64_t below(uint64_t bits, uint64_t count) {
  return count == 0 ? bits : static_cast<uint64_t>(static_cast<unsigned __int128>(bits) * count >> 64);
}

/// Two independent normal numbers (Box and Muller).
inline std::array<double, 2> normal_pair(std::array<uint64_t, 2> bits) {
  const double radius = std::sqrt(-2 * natural_log(open_unit_of(bits[0])));
  const auto [sine, cosine] = sine_and_cosine(unit_of(bits[1]));
  return {radius * cosine, radius * sine};
}

inline constexpr int64_t kBlock = 1024;  // of numbers that are drawn before they are stored; even

template <class To, class From>
To rounded(From value) {
  if constexpr (std::is_same_v<To, bool>) {
    return value != From(0);
  } else if constexpr (std::is_integral_v<To> && std::is_floating_point_v<From>) {
    constexpr auto kLeast = static_cast<From>(std::numeric_limits<To>::min()),
                   kMost = static_cast<From>(std::numeric_limits<To>::max());
    return value >= kMost    ? std::numeric_limits<To>::max()
           : value <= kLeast ? std::numeric_limits<To>::min()
                             : static_cast<To>(value);
  } else {
    return static_cast<To>(value);
  }
}

/// `draw(pair)` gives the numbers of elements 2 pair and 2 pair + 1, by place in the memory of `out`, which
/// is dense. Plain loops, compiled once: no bit depends on how wide a vector is.
template <class Draw>
void fill_pairs(const at::Tensor& out, const Draw& draw) {
  using Number = typename decltype(draw(int64_t{}))::value_type;
  AT_DISPATCH_ALL_TYPES_AND3(at::kBFloat16, at::kHalf, at::kBool, out.scalar_type(), "random numbers", [&] {
    scalar_t* to = out.mutable_data_ptr<scalar_t>();
    std::array<Number, kBlock> block;
    for (int64_t begin = 0; begin < out.numel(); begin += kBlock) {
      const int64_t count = std::min(kBlock, out.numel() - begin);
      for (int64_t i = 0; i < count; i += 2) {
        const auto numbers = draw((begin + i) / 2);
        block[static_cast<size_t>(i)] = numbers[0];
        block[static_cast<size_t>(i) + 1] = numbers[1];
      }
      for (int64_t i = 0; i < count; ++i) to[begin + i] = rounded<scalar_t>(block[static_cast<size_t>(i)]);
    }
  });
}

/// `draw(bits, element)` gives one number. The bits beyond an odd last element belong to nobody.
template <class Draw>
void fill(const at::Tensor& out, const KernelContext& context, const Draw& draw) {
  const Stream stream(context);
  const int64_t last = std::max<int64_t>(out.numel() - 1, 0);
  fill_pairs(out, [&](int64_t pair) {
    const auto bits = stream.pair(pair);
    return std::array{draw(bits[0], 2 * pair), draw(bits[1], std::min(2 * pair + 1, last))};
  });
}

/// A parameter of a distribution, one for each element of `out`, in the order of its memory.
class PerElement {
 public:
  PerElement(const at::Tensor& values, const at::Tensor& out) {
    if (values.numel() == 1) {
      one_ = values.item<double>();
      return;
    }
    tensor_ = at::empty_like(out, out.options().dtype(at::kDouble)).copy_(values);
    data_ = tensor_.const_data_ptr<double>();
  }
  PerElement(double value) : one_(value) {}  // the same for all
  double operator()(int64_t element) const { return data_ == nullptr ? one_ : data_[element]; }

 private:
  at::Tensor tensor_;
  const double* data_ = nullptr;
  double one_ = 0;
};

inline double number(const c10::IValue& value) { return value.toScalar().toDouble(); }

inline void require(bool holds, const char* what, double got) {
  if (!holds) throw std::invalid_argument(cat(what, ", got ", got));
}

}  // namespace shoal::kernels
