#include "capture/packed_sequences.h"

#include <ATen/ops/cat.h>
#include <ATen/ops/full.h>
#include <ATen/ops/tensor.h>

#include <algorithm>

#include "capture/ghost.h"
#include "capture/recorder.h"
#include "shoal/error.h"

namespace shoal::capture {
namespace {

using at::Tensor;
using Two = std::tuple<Tensor, Tensor>;

Tensor host_tensor(const std::vector<int64_t>& numbers) {
  const c10::impl::ExcludeDispatchKeyGuard real(c10::DispatchKey::Functionalize);
  const Tensor made = at::tensor(numbers);
  if (Recording::active() != nullptr) Recording::active()->note_made(made);
  return made;
}

// [t,n,...] with lengths of the host -> the rows that are no padding, step by step, and how many each step
// has.
Two pack(const Tensor& input, const Tensor& lengths, bool batch_first) {
  const Tensor steps = batch_first ? input.transpose(0, 1) : input;
  const int64_t t = steps.size(0), n = steps.size(1);
  const std::vector<int64_t> length = host_numbers(lengths);
  TORCH_CHECK(static_cast<int64_t>(length.size()) == n,
              "Expected `len(lengths)` to be equal to batch_size, but got ", length.size(),
              " (batch_size=", n, ")");
  TORCH_CHECK(
      n > 0 && length.back() > 0,
      "Length of all samples has to be greater than 0, but found an element in 'lengths' that is <= 0");
  TORCH_CHECK(std::is_sorted(length.rbegin(), length.rend()),
              "`lengths` array must be sorted in decreasing order when `enforce_sorted` is True");
  TORCH_CHECK(length[0] <= t, "the longest sequence has ", length[0], " steps, the input ", t);
  std::vector<int64_t> rows, batch_sizes;
  for (int64_t step = 0; step < length[0]; ++step) {
    int64_t size = 0;
    while (size < n && length[static_cast<size_t>(size)] > step) rows.push_back(step * n + size++);
    batch_sizes.push_back(size);
  }
  return {steps.flatten(0, 1).index_select(0, host_tensor(rows)), host_tensor(batch_sizes)};
}

// The inverse. What is padded reads one more row, of the padding.
Two unpack(const Tensor& data, const Tensor& batch_sizes, bool batch_first, const at::Scalar& padding,
           int64_t total_length) {
  const std::vector<int64_t> sizes = host_numbers(batch_sizes);
  const int64_t n = sizes.at(0);
  const auto steps = std::max(total_length, static_cast<int64_t>(sizes.size()));
  std::vector<int64_t> rows, lengths(static_cast<size_t>(n));
  int64_t first = 0;
  for (size_t step = 0; step < static_cast<size_t>(steps); ++step) {
    const int64_t size = step < sizes.size() ? sizes[step] : 0;
    for (int64_t i = 0; i < n; ++i) rows.push_back(i < size ? first + i : data.size(0));
    for (int64_t i = 0; i < size; ++i) ++lengths[static_cast<size_t>(i)];
    first += size;
  }
  std::vector<int64_t> row = data.sizes().vec();
  row[0] = 1;
  const Tensor all = at::cat({data, at::full(row, padding, data.options())}, 0);
  const Tensor padded = all.index_select(0, host_tensor(rows)).unflatten(0, {steps, n});
  return {batch_first ? padded.transpose(0, 1) : padded, host_tensor(lengths)};
}

}  // namespace

std::vector<int64_t> host_numbers(const Tensor& tensor) {
  const c10::impl::ExcludeDispatchKeyGuard real(c10::DispatchKey::Functionalize);
  const bool is_captured = ghost_beneath(tensor).defined() && Recording::active() != nullptr;
  const Tensor known = is_captured ? Recording::active()->read(tensor) : unwrap(tensor);
  if (!known.defined())
    throw InputError(
        "capture - pack_padded_sequence: its lengths are computed from the batch or from the model's "
        "tensors, and how much is packed depends on them; give them as a tensor of the host "
        "(torch::tensor({5, 3}), kept by the model or the loss), or run the layer on the padded sequences "
        "and mask the loss");
  const Tensor plain = known.to(at::kLong).contiguous();
  return {plain.const_data_ptr<int64_t>(), plain.const_data_ptr<int64_t>() + plain.numel()};
}

void register_packing(torch::Library& above_autograd) {
  above_autograd.impl("_pack_padded_sequence", TORCH_FN(pack));
  above_autograd.impl("_pad_packed_sequence", TORCH_FN(unpack));
}

}  // namespace shoal::capture
