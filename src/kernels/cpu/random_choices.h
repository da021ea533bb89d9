// Random kernels that are more than one number for each element: choices among classes, orders, masks, and
// numbers of which some are rejected.
#pragma once

#include "kernels/kernel.h"

namespace shoal::kernels {

// Kernels, of the operators of these names; their arguments in the schema's order.
void dropout(torch::jit::Stack&, const KernelContext&);
void multinomial(torch::jit::Stack&, const KernelContext&);
void poisson(torch::jit::Stack&, const KernelContext&);
void randperm(torch::jit::Stack&, const KernelContext&);            // (n, dtype, ...)
void randperm_generator(torch::jit::Stack&, const KernelContext&);  // (n, generator, dtype, ...)
void rrelu(torch::jit::Stack&, const KernelContext&);

}  // namespace shoal::kernels
