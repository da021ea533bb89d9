// torch::load in the constructor of a described model: numbers from a file are real, and become constants of
// the recorded initialisation.
#pragma once

#include "capture/recorder.h"

namespace shoal::capture {

/// When `op` gives a tensor a storage with numbers (as reading a file does), makes a constant of them, which
/// the tensor stands for from here on, and leaves it on the stack. False: it is another operator, nothing was
/// done.
bool take_storage(Recording&, const c10::OperatorHandle& op, torch::jit::Stack& stack);

}  // namespace shoal::capture
