// Hooks that a user put on parameters: what LibTorch calls with a gradient.
#pragma once

#include <ATen/core/TensorBody.h>

#include <string>

namespace shoal::capture {

/// The hooks of `original` (Tensor::register_hook) are called with the gradient of `twin` while backward is
/// recorded. They stay the original's, which must outlive the twin. Throws InputError for other kinds of hooks,
/// which a gradient that is never stored in the parameter cannot reach.
void lend_hooks(const std::string& name, const at::Tensor& original, const at::Tensor& twin);

/// How many hooks a parameter has.
size_t count_hooks(const at::Tensor& parameter);

}  // namespace shoal::capture
