// Batch norm as capture sees it. Its operator changes the running statistics without its schema saying so, so
// functionalization would miss the change.
#pragma once

#include <ATen/core/stack.h>

#include <string>

namespace shoal::capture {

/// From here on, a batch norm that trains on ghosts becomes nodes that change nothing: the normalisation,
/// which also gives the batch's statistics, and new = momentum * observed + (1 - momentum) * old for each
/// running statistic, written back as any in-place operator would (docs/numerics.md, "buffers"). Call once.
void register_batch_norm();

/// The backward pass of a batch norm that trains is given the running statistics and does not read them:
/// takes them out of its arguments, so that nothing of the loss depends on them. Other operators stay as they
/// are.
void drop_unread_statistics(const std::string& op, torch::jit::Stack& stack);

}  // namespace shoal::capture
