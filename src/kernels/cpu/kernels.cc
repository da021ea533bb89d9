#include "kernels/cpu/kernels.h"

#include <ATen/Context.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/_scaled_dot_product_flash_attention_for_cpu.h>
#include <ATen/ops/_scaled_dot_product_flash_attention_for_cpu_backward.h>
#include <ATen/ops/mkldnn_rnn_layer.h>

#include <unordered_map>

#include "kernels/cpu/random_kernels.h"
#include "shoal/error.h"

namespace shoal::kernels {
namespace {

using at::Tensor;
using torch::jit::Stack;

std::optional<Tensor> optional_tensor(const c10::IValue& value) {
  return value.isTensor() && value.toTensor().defined() ? std::optional(value.toTensor()) : std::nullopt;
}
std::optional<double> optional_double(const c10::IValue& value) {
  return value.isNone() ? std::nullopt : std::optional(value.toDouble());
}

// (query, key, value, bias, dropout, is_causal, debug, scale)
void attention(Stack& s, const KernelContext&) {
  auto [output, lse] = at::_scaled_dot_product_flash_attention_for_cpu(
      s[0].toTensor(), s[1].toTensor(), s[2].toTensor(), s[4].toDouble(), s[5].toBool(),
      optional_tensor(s[3]), optional_double(s[7]));
  const int64_t queries = s[0].toTensor().size(2), keys = s[1].toTensor().size(2);
  s = {output, lse, Tensor(), Tensor(), queries, keys, Tensor(), Tensor(), Tensor()};
}

// (grad, query, key, value, bias, mask, out, lse, cum_q, cum_k, max_q, max_k, dropout, is_causal, seed,
// offset, scale)
void attention_backward(Stack& s, const KernelContext&) {
  auto [query, key, value] = at::_scaled_dot_product_flash_attention_for_cpu_backward(
      s[0].toTensor(), s[1].toTensor(), s[2].toTensor(), s[3].toTensor(), s[6].toTensor(), s[7].toTensor(),
      s[12].toDouble(), s[13].toBool(), optional_tensor(s[4]), optional_double(s[16]));
  s = {query, key, value, Tensor()};
}

// (input, w_ih, w_hh, b_ih, b_hh, h, c, reverse, batch_sizes, mode, hidden_size, num_layers, has_biases,
// bidirectional, batch_first, train) -> output, h, c, workspace. LibTorch's kernel makes the workspace, which
// backward reads, when gradients are on; capture has put into `train` whether they were.
void recurrent_layer(Stack& s, const KernelContext&) {
  const at::AutoGradMode gradients(s[15].toBool());
  auto [output, h, c, workspace] = at::mkldnn_rnn_layer(
      s[0].toTensor(), s[1].toTensor(), s[2].toTensor(), s[3].toTensor(), s[4].toTensor(), s[5].toTensor(),
      s[6].toTensor(), s[7].toBool(), s[8].toIntVector(), s[9].toInt(), s[10].toInt(), s[11].toInt(),
      s[12].toBool(), s[13].toBool(), s[14].toBool(), s[15].toBool());
  s = {output, h, c, workspace};
}

}  // namespace

Kernel find_kernel(const std::string& op) {
  static const std::unordered_map<std::string, Kernel> table = {
      {"aten::_scaled_dot_product_fused_attention_overrideable", attention},
      {"aten::_scaled_dot_product_fused_attention_overrideable_backward", attention_backward},
      {"aten::mkldnn_rnn_layer", recurrent_layer},
  };
  const auto found = table.find(op);
  return found == table.end() ? find_random_kernel(op) : found->second;
}

// As LibTorch's own choice for the CPU, which cannot be asked: it looks at strides and data of real tensors.
bool takes_attention(const AttentionCall& call) {
  const auto &query = call.query, &key = call.key, &value = call.value;
  return call.dropout == 0.0 && query.dim() == 4 && query.size(-1) == value.size(-1) &&
         query.size(-1) == key.size(-1) && at::isFloatingType(query.scalar_type()) &&
         !(call.mask.has_value() && call.mask->requires_grad()) && !(call.is_causal && call.mask.has_value()) &&
         (call.is_grouped || query.size(1) == key.size(1));
}

// oneDNN has the kernel.
bool takes_lstm(const Tensor& input) {
  static const auto bf16 =
      c10::Dispatcher::singleton().findSchemaOrThrow("mkldnn::_is_mkldnn_bf16_supported", "").typed<bool()>();
  return at::globalContext().userEnabledMkldnn() && input.numel() != 0 &&
         (input.scalar_type() == at::kFloat || (input.scalar_type() == at::kBFloat16 && bf16.call()));
}

}  // namespace shoal::kernels
