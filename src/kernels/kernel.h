// A kernel of our own, and what it is told beside its arguments.
#pragma once

#include <ATen/core/TensorBody.h>
#include <ATen/core/stack.h>

#include <cstdint>

namespace shoal::kernels {

/// Which random numbers a node draws (docs/numerics.md, "random numbers").
struct RandomKey {
  uint64_t seed = 0;
  int64_t step = 0;
  int64_t microbatch = 0;  // in evaluation -1 - the number of the batch
};

struct KernelContext {
  RandomKey random;
  int stream;  // Node::random
};

/// Takes the operator's arguments from the stack and leaves its results.
using Kernel = void (*)(torch::jit::Stack&, const KernelContext&);

}  // namespace shoal::kernels
