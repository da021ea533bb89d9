// Our own kernels: for operators that LibTorch's CPU backend has under another name, and for randomness by
// counter (random_kernels.h).
#pragma once

#include <ATen/core/stack.h>

#include <cstdint>
#include <string>

namespace shoal::run {

/// Which random numbers a node draws (docs/numerics.md, "random numbers").
struct RandomKey {
  uint64_t seed = 0;
  int64_t step = 0;
  int64_t microbatch = 0;  // in evaluation -1 - the number of the batch
};

class Exchanger;

struct KernelContext {
  RandomKey random;
  int stream;            // Node::random
  Exchanger* exchanger;  // of a device in a tensor-parallel group; else null
};

/// Takes the operator's arguments from the stack and leaves its results.
using Kernel = void (*)(torch::jit::Stack&, const KernelContext&);

/// Null: LibTorch's own kernel serves.
Kernel find_kernel(const std::string& op);

}  // namespace shoal::run
