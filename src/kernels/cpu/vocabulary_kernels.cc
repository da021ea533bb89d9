// The operators that let a vocabulary be divided: embedding and cross-entropy over a range of the classes,
// [first, first + classes). numerics/open_vocabulary.cc puts them into a graph. After Shoeybi et al.,
// "Megatron-LM", 2019, section 3: the logits of all classes never exist in one place.
#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/logsumexp.h>
#include <ATen/ops/sub.h>
#include <ATen/ops/zeros.h>
#include <torch/library.h>

#include <cstring>

namespace shoal::kernels {
namespace {

using at::Tensor;

// Rows that are worked on at a time, so that they stay in the cache between passes.
int64_t rows_at_a_time(const Tensor& x) {
  return std::max<int64_t>(1, (1 << 16) / std::max<int64_t>(x.size(-1), 1));
}

// x [..., v] -> log of the sum of exponentials over v, [...]
Tensor row_lse(const Tensor& x) {
  const Tensor rows = x.contiguous().view({-1, x.size(-1)});
  const Tensor out = at::empty({rows.size(0)}, x.options());
  const int64_t step = rows_at_a_time(rows);
  for (int64_t begin = 0; begin < rows.size(0); begin += step) {
    const int64_t count = std::min(step, rows.size(0) - begin);
    Tensor here = out.narrow(0, begin, count);
    at::logsumexp_out(here, rows.narrow(0, begin, count), {-1});
  }
  return out.view(x.sizes().slice(0, static_cast<size_t>(x.dim()) - 1));
}

void check_index(const char* what, int64_t index, int64_t classes) {
  TORCH_CHECK_INDEX(index >= 0 && index < classes, what, ": got ", index, ", want 0 to ", classes - 1);
}

// x [n,v], lse [n], target [n] -> [2]: over the rows whose target is a class of this range, the sum of lse -
// x[target], and their number. fp64 inside, rounded once. `num_classes`: of all ranges together.
Tensor cross_entropy_sums(const Tensor& x, const Tensor& lse, const Tensor& target, int64_t ignore_index,
                          int64_t num_classes, int64_t first) {
  const Tensor logits = x.contiguous(), sums = lse.contiguous(), targets = target.contiguous();
  const int64_t classes = logits.size(1);
  const float* row = logits.const_data_ptr<float>();
  double loss = 0, count = 0;
  for (int64_t n = 0; n < logits.size(0); ++n, row += classes) {
    const int64_t wanted = targets.const_data_ptr<int64_t>()[n];
    if (wanted == ignore_index) continue;
    check_index("target", wanted, num_classes);
    if (wanted < first || wanted >= first + classes) continue;
    loss += double{sums.const_data_ptr<float>()[n]} - double{row[wanted - first]};
    count += 1;
  }
  Tensor out = at::empty({2}, x.options());
  out.mutable_data_ptr<float>()[0] = static_cast<float>(loss);
  out.mutable_data_ptr<float>()[1] = static_cast<float>(count);
  return out;
}

// [2] -> loss (reduction 1: mean, 2: sum), total weight
std::tuple<Tensor, Tensor> cross_entropy_finish(const Tensor& sums, int64_t reduction) {
  const Tensor loss = at::empty({}, sums.options()), weight = at::empty({}, sums.options());
  const float* from = sums.const_data_ptr<float>();
  *loss.mutable_data_ptr<float>() = reduction == 1 ? from[0] / from[1] : from[0];
  *weight.mutable_data_ptr<float>() = from[1];
  return {loss, weight};
}

// grad [], x [n,v], lse [n], target [n], weight [] -> the gradient of x: (exp(x - lse) - [class is the
// target]) * grad, over the weight where the loss is a mean; 0 in rows that are ignored
Tensor cross_entropy_backward(const Tensor& grad, const Tensor& x, const Tensor& lse, const Tensor& target,
                              const Tensor& weight, int64_t reduction, int64_t ignore_index, int64_t first) {
  const Tensor logits = x.contiguous(), sums = lse.contiguous(), targets = target.contiguous();
  const int64_t rows = logits.size(0), classes = logits.size(1);
  const float scale =
      *grad.const_data_ptr<float>() / (reduction == 1 ? *weight.const_data_ptr<float>() : 1.0F);
  const Tensor out = at::empty({rows, classes}, x.options());
  const int64_t step = rows_at_a_time(logits);
  for (int64_t begin = 0; begin < rows; begin += step) {
    const int64_t count = std::min(step, rows - begin);
    Tensor here = out.narrow(0, begin, count);
    at::sub_out(here, logits.narrow(0, begin, count), sums.narrow(0, begin, count).unsqueeze(1));
    here.exp_().mul_(scale);
    for (int64_t n = begin; n < begin + count; ++n) {
      const int64_t wanted = targets.const_data_ptr<int64_t>()[n];
      float* row = out.mutable_data_ptr<float>() + n * classes;
      if (wanted == ignore_index)
        std::fill_n(row, classes, 0.0F);
      else if (wanted >= first && wanted < first + classes)
        row[wanted - first] -= scale;
    }
  }
  return out;
}

// weight [v,d], indices [...] -> [..., d]: zero where the index is none of [first, first + v)
Tensor embedding_rows(const Tensor& weight, const Tensor& indices, int64_t num_classes, int64_t first) {
  const Tensor table = weight.contiguous(), wanted = indices.contiguous();
  std::vector<int64_t> shape = indices.sizes().vec();
  shape.push_back(table.size(1));
  const Tensor out = at::empty(shape, weight.options());
  const size_t bytes = static_cast<size_t>(table.size(1)) * table.element_size();
  auto* to = static_cast<std::byte*>(out.mutable_data_ptr());
  const auto* from = static_cast<const std::byte*>(table.const_data_ptr());
  const auto copy = [&](auto* ids) {
    for (int64_t i = 0; i < wanted.numel(); ++i, to += bytes) {
      check_index("index", ids[i], num_classes);
      const int64_t row = ids[i] - first;
      if (row >= 0 && row < table.size(0))
        std::memcpy(to, from + static_cast<size_t>(row) * bytes, bytes);
      else
        std::memset(to, 0, bytes);
    }
  };
  if (wanted.scalar_type() == at::kInt)
    copy(wanted.const_data_ptr<int32_t>());
  else
    copy(wanted.const_data_ptr<int64_t>());
  return out;
}

// grad [..., d] (fp32), indices [...] -> [rows, d]: the rows [first, first + rows) of the gradient of the
// table
Tensor embedding_rows_backward(const Tensor& grad, const Tensor& indices, int64_t rows, int64_t padding_index,
                               int64_t first) {
  const Tensor from = grad.contiguous(), wanted = indices.to(at::kLong).contiguous();
  const int64_t width = from.size(-1);
  const Tensor out = at::zeros({rows, width}, grad.options());
  const float* row = from.const_data_ptr<float>();
  for (int64_t i = 0; i < wanted.numel(); ++i, row += width) {
    const int64_t index = wanted.const_data_ptr<int64_t>()[i];
    if (index == padding_index || index < first || index >= first + rows) continue;
    float* to = out.mutable_data_ptr<float>() + (index - first) * width;
    for (int64_t d = 0; d < width; ++d) to[d] += row[d];
  }
  return out;
}

}  // namespace

TORCH_LIBRARY_IMPL(shoal, CPU, library) {
  library.impl("row_lse", &row_lse);
  library.impl("cross_entropy_sums", &cross_entropy_sums);
  library.impl("cross_entropy_finish", &cross_entropy_finish);
  library.impl("cross_entropy_backward", &cross_entropy_backward);
  library.impl("embedding_rows", &embedding_rows);
  library.impl("embedding_rows_backward", &embedding_rows_backward);
}

}  // namespace shoal::kernels
