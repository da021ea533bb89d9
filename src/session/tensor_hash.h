// The contents of a tensor, as a hash.
#pragma once

#include <ATen/core/TensorBody.h>

#include <string>

namespace shoal::session {

/// Of its numbers in the order of its shape, however they lie in memory. Waits while a capture on another
/// thread keeps the numbers of modules from being read.
std::string hash_of(const at::Tensor&);

}  // namespace shoal::session
