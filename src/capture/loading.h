// torch::load in the constructor of a described model: numbers from a file are real, and become constants of
// the recorded initialisation.
#pragma once

#include <ATen/core/dispatch/Dispatcher.h>

namespace shoal::capture {

/// When `op` gives a tensor a storage with numbers (as reading a file does), does so beneath recording and
/// leaves the tensor on the stack. False: it is another operator, nothing was done.
bool take_storage(const c10::OperatorHandle& op, torch::jit::Stack& stack);

}  // namespace shoal::capture
