// LibTorch asks for the kernel of each scaled_dot_product_attention. What one kernel of the device takes becomes
// one node, the rest is recorded as the operators that it comes apart into.
#include <ATen/SDPBackend.h>
#include <ATen/native/DispatchStub.h>
#include <ATen/native/transformers/attention.h>
#include <ATen/native/transformers/sdp_utils_cpp.h>

#include "capture/recorder.h"

namespace at::native {
namespace {

int64_t choose_attention(const Tensor& query, const Tensor& key, const Tensor& value,
                         const std::optional<Tensor>& mask, double dropout, bool is_causal,
                         std::optional<double> /*scale*/, bool enable_gqa) {
  const auto* const recording = shoal::capture::Recording::active();
  const shoal::kernels::AttentionCall call{query, key, value, mask, dropout, is_causal, enable_gqa};
  // Outside of a recording any operator that it comes apart into says what is wrong.
  const bool fused = recording != nullptr && recording->device().takes_attention(call);
  return static_cast<int64_t>(fused ? at::SDPBackend::overrideable : at::SDPBackend::math);
}

}  // namespace
REGISTER_PRIVATEUSE1_DISPATCH(_fused_sdp_choice_stub, &choose_attention)
}  // namespace at::native
