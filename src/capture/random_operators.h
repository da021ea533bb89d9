// Operators that draw random numbers, before a capture sees their arguments: what would draw from a generator
// of the host, once, becomes a node that draws anew in every step; what cannot is refused.
#pragma once

#include <ATen/core/dispatch/Dispatcher.h>

#include <functional>

namespace shoal::capture {

/// By LibTorch's own tag.
bool is_random(const c10::OperatorHandle&);

/// What stands for a tensor of the host among the arguments of such an operator.
struct HostArguments {
  std::function<at::Tensor(const at::Tensor&)> read, written;
};

/// Rewrites the operator's arguments, all that lie on the stack after the others: the results are on the device
/// of ghosts, whatever device it names, and tensors of the host are replaced. Throws InputError where it is given
/// a generator. REQUIRES: is_random.
void record_draws(const c10::OperatorHandle&, torch::jit::Stack&, const HostArguments&);

}  // namespace shoal::capture
