// Operators that draw random numbers, before a capture sees their arguments: what would draw from a generator
// of the host, once, becomes a node that draws anew in every step; what cannot is refused.
#pragma once

#include <ATen/core/dispatch/Dispatcher.h>

#include <functional>

namespace shoal::capture {

/// By LibTorch's own tag.
bool is_random(const c10::OperatorHandle&);

/// Rewrites the operator's arguments: the results are on the device of ghosts, whatever device it names, and
/// tensors of the host are replaced by `ghost_of` them. Throws InputError where it is given a generator, or
/// is to change a tensor of the host. REQUIRES: is_random.
void record_draws(const c10::OperatorHandle&, torch::jit::Stack*,
                  const std::function<at::Tensor(const at::Tensor&)>& ghost_of);

}  // namespace shoal::capture
