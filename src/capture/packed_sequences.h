// Packed sequences as capture sees them: what is packed depends on lengths, which are numbers of the host.
#pragma once

#include <ATen/core/Tensor.h>
#include <torch/library.h>

#include <vector>

namespace shoal::capture {

/// The numbers of a tensor of the host. REQUIRES: no ghost.
std::vector<int64_t> host_numbers(const at::Tensor&);

/// pack_padded_sequence and pad_packed_sequence of ghosts, with lengths of the host, become a choice of rows.
/// Throws InputError for lengths that are computed in the graph.
void register_packing(torch::Library& above_autograd);

}  // namespace shoal::capture
