// Our own kernels: for operators that LibTorch's CPU backend has under another name, and for randomness by
// counter (random_kernels.h). And which calls eager gives to one kernel.
#pragma once

#include <string>

#include "kernels/device.h"

namespace shoal::kernels {

// What Device promises under these names.
Kernel find_kernel(const std::string& op);
bool takes_attention(const AttentionCall&);
bool takes_lstm(const at::Tensor& input);

}  // namespace shoal::kernels
