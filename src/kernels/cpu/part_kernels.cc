// The operators of divided graphs that move and combine parts (ops/schemas.cc).
//
// A cut [outer, parts, rest] of a dim makes a contiguous tensor a sequence of pre * outer rows of `parts`
// runs each; part p is run p of every row.
#include <ATen/core/Tensor.h>
#include <ATen/ops/add.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_strided.h>
#include <ATen/ops/maximum.h>
#include <ATen/ops/minimum.h>
#include <torch/library.h>

#include <array>
#include <bit>
#include <cmath>
#include <cstring>

#include "base/text.h"
#include "comm/reduce.h"
#include "kernels/cpu/parts.h"
#include "shoal/error.h"

namespace shoal::kernels {
namespace {

using at::Tensor;

// How a contiguous tensor of this shape falls into rows of runs.
struct Runs {
  int64_t rows, run;  // elements of a run
};
Runs runs_of(at::IntArrayRef shape, int64_t dim, int64_t outer, int64_t parts) {
  int64_t before = outer, behind = shape[static_cast<size_t>(dim)] / (outer * parts);
  for (int64_t d = 0; d < dim; ++d) before *= shape[static_cast<size_t>(d)];
  for (size_t d = static_cast<size_t>(dim) + 1; d < shape.size(); ++d) behind *= shape[d];
  return {before, behind};
}

std::vector<int64_t> part_shape(at::IntArrayRef shape, int64_t dim, int64_t parts) {
  std::vector<int64_t> part = shape.vec();
  part[static_cast<size_t>(dim)] /= parts;
  return part;
}

Tensor cut_part(const Tensor& x, int64_t dim, int64_t outer, int64_t parts, int64_t part) {
  const Tensor from = x.contiguous();
  const auto [rows, run] = runs_of(from.sizes(), dim, outer, parts);
  Tensor out = at::empty(part_shape(from.sizes(), dim, parts), from.options());
  const size_t bytes = static_cast<size_t>(run) * from.element_size();
  const auto* source = static_cast<const std::byte*>(from.const_data_ptr());
  auto* target = static_cast<std::byte*>(out.mutable_data_ptr());
  for (int64_t row = 0; row < rows; ++row)
    std::memcpy(target + static_cast<size_t>(row) * bytes,
                source + static_cast<size_t>(row * parts + part) * bytes, bytes);
  return out;
}

Tensor join_parts(at::TensorList list, int64_t dim, int64_t outer) {
  const auto parts = static_cast<int64_t>(list.size());
  std::vector<int64_t> shape = list[0].sizes().vec();
  shape[static_cast<size_t>(dim)] *= parts;
  Tensor out = at::empty(shape, list[0].options());
  const auto [rows, run] = runs_of(shape, dim, outer, parts);
  const size_t bytes = static_cast<size_t>(run) * out.element_size();
  auto* target = static_cast<std::byte*>(out.mutable_data_ptr());
  for (int64_t part = 0; part < parts; ++part) {
    const Tensor from = list[static_cast<size_t>(part)].contiguous();
    const auto* source = static_cast<const std::byte*>(from.const_data_ptr());
    for (int64_t row = 0; row < rows; ++row)
      std::memcpy(target + static_cast<size_t>(row * parts + part) * bytes,
                  source + static_cast<size_t>(row) * bytes, bytes);
  }
  return out;
}

// Part `part` of the whole that is cut along `to`, from the parts that are cut along `from`, another dim.
Tensor recut_part(at::TensorList list, int64_t from_dim, int64_t from_outer, int64_t to_dim, int64_t to_outer,
                  int64_t part) {
  std::vector<Tensor> pieces;
  for (const Tensor& source : list)
    pieces.push_back(cut_part(source, to_dim, to_outer, static_cast<int64_t>(list.size()), part));
  return join_parts(pieces, from_dim, from_outer);
}

// log(exp(a) + exp(b)), element by element in fp64: LibTorch's vector loops treat the last elements of a
// tensor otherwise, and these may be a whole tensor here and a part of it on another device.
Tensor logaddexp(const Tensor& a, const Tensor& b) {
  const Tensor x = a.contiguous(), y = b.contiguous(), out = at::empty(x.sizes(), x.options());
  for (int64_t i = 0; i < out.numel(); ++i) {
    const double left = x.const_data_ptr<float>()[i], right = y.const_data_ptr<float>()[i];
    const double most = std::max(left, right);
    const double sum = std::isinf(most) ? most : most + std::log1p(std::exp(std::min(left, right) - most));
    out.mutable_data_ptr<float>()[i] = static_cast<float>(sum);
  }
  return out;
}

Tensor combine(c10::string_view how, const Tensor& a, const Tensor& b) {
  if (how == "sum") return at::add(a, b);
  if (how == "max") return at::maximum(a, b);
  if (how == "min") return at::minimum(a, b);
  if (how == "lse") return logaddexp(a, b);
  if (how == "first") return a.clone();  // it may lie where a peer will show something else
  throw JobError(cat("reduce_parts - how: got ", std::string(how), ", want sum, max, min, lse or first"));
}

// The tree over [0, n) (comm/reduce.h) over `roots`, each of which stands for `leaves` of its leaves.
Tensor tree(c10::string_view how, at::TensorList roots, at::IntArrayRef leaves, Range range, size_t& next) {
  if (leaves.at(next) == range.size()) return roots[next++];
  const int64_t middle = comm::tree_split(range);
  const Tensor left = tree(how, roots, leaves, {range.begin, middle}, next);
  return combine(how, left, tree(how, roots, leaves, {middle, range.end}, next));
}

bool sums_in_fp32(c10::string_view how, at::TensorList roots) {
  return how == "sum" && std::all_of(roots.begin(), roots.end(), [](const Tensor& t) {
           return t.scalar_type() == at::kFloat || t.scalar_type() == at::kBFloat16;
         });
}

constexpr int64_t kStrip = 2048;

// To nearest, ties to even; NaN stays NaN.
void round_to_bf16(const float* from, at::BFloat16* to, int64_t count) {
  auto* bits = reinterpret_cast<uint16_t*>(to);
  for (int64_t i = 0; i < count; ++i) {
    const auto word = std::bit_cast<uint32_t>(from[i]);
    const uint32_t rounded = (word + 0x7fff + ((word >> 16) & 1)) >> 16;
    bits[i] = static_cast<uint16_t>((word & 0x7fffffff) > 0x7f800000 ? 0x7fc0 : rounded);
  }
}

// `part` of the combination of all roots, of a cut in `parts`; parts = 1: all of it.
Tensor reduce(at::TensorList roots, at::IntArrayRef leaves, c10::string_view how, at::ScalarType dtype,
              int64_t dim, int64_t outer, int64_t parts, int64_t part) {
  int64_t n = 0;
  for (int64_t count : leaves) n += count;
  if (!sums_in_fp32(how, roots)) {
    std::vector<Tensor> cut;
    // As a peer would show it: how it lies in memory must not depend on who made it.
    for (const Tensor& root : roots)
      cut.push_back(parts == 1 ? root.contiguous() : cut_part(root, dim, outer, parts, part));
    size_t next = 0;
    return tree(how, cut, leaves, {0, n}, next).to(dtype);
  }
  std::vector<Tensor> dense;  // keeps copies alive
  std::vector<comm::Root> all;
  int64_t first = 0;
  for (size_t i = 0; i < roots.size(); ++i) {
    dense.push_back(roots[i].contiguous());
    const auto type = dense[i].scalar_type() == at::kBFloat16 ? comm::DType::kBF16 : comm::DType::kF32;
    all.push_back(
        {{first, first + leaves[i]}, static_cast<const std::byte*>(dense[i].const_data_ptr()), type});
    first += leaves[i];
  }
  const at::IntArrayRef shape = dense[0].sizes();
  const auto [rows, run] = parts == 1 ? Runs{1, dense[0].numel()} : runs_of(shape, dim, outer, parts);
  const bool narrow = dtype == at::kBFloat16;
  Tensor out = at::empty(parts == 1 ? shape.vec() : part_shape(shape, dim, parts),
                         dense[0].options().dtype(narrow ? at::kBFloat16 : at::kFloat));
  std::vector<comm::Root> here = all;
  // In bf16 the sum of a strip is rounded while it is in the cache.
  const int64_t strip = narrow ? kStrip : run;
  std::array<float, kStrip> sum;
  for (int64_t row = 0; row < rows; ++row) {
    for (int64_t begin = 0; begin < run; begin += strip) {
      const int64_t count = std::min(strip, run - begin);
      for (size_t i = 0; i < all.size(); ++i)
        here[i].data = all[i].data + static_cast<size_t>((row * parts + part) * run + begin) *
                                         comm::element_bytes(all[i].dtype);
      if (narrow) {
        comm::sum_roots(n, here, {sum.data(), static_cast<size_t>(count)});
        round_to_bf16(sum.data(), out.mutable_data_ptr<at::BFloat16>() + row * run + begin, count);
      } else {
        comm::sum_roots(n, here,
                        {out.mutable_data_ptr<float>() + row * run + begin, static_cast<size_t>(count)});
      }
    }
  }
  return narrow || dtype == at::kFloat ? out : out.to(dtype);
}

Tensor reduce_parts(at::TensorList roots, at::IntArrayRef leaves, c10::string_view how,
                    at::ScalarType dtype) {
  return reduce(roots, leaves, how, dtype, 0, 1, 1, 0);
}

}  // namespace

Tensor restride(const Tensor& x, at::IntArrayRef strides) {
  Tensor out = at::empty_strided(x.sizes(), strides, x.options());
  Tensor to = out, from = x;
  for (int64_t dim = 0; dim < x.dim(); ++dim) {
    if (strides[static_cast<size_t>(dim)] != 0 || x.size(dim) < 2) continue;
    to = to.narrow(dim, 0, 1);
    from = from.narrow(dim, 0, 1);
  }
  to.copy_(from);
  return out;
}

Tensor take_part(const Tensor& whole, const graph::Cut& cut, int64_t parts, int part) {
  return cut_part(whole, cut.dim, cut.outer, parts, part);
}
Tensor join_parts(const std::vector<Tensor>& parts, const graph::Cut& cut) {
  return join_parts(parts, cut.dim, cut.outer);
}

TORCH_LIBRARY_IMPL(shoal, CPU, library) {
  library.impl("cut_part", &cut_part);
  library.impl("join_parts", static_cast<Tensor (*)(at::TensorList, int64_t, int64_t)>(&join_parts));
  library.impl("recut_part", &recut_part);
  library.impl("reduce_parts", &reduce_parts);
  library.impl("reduce_cut", &reduce);
  library.impl("restride", &restride);
}

}  // namespace shoal::kernels
