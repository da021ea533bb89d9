// Ghost tensors: sizes, strides and dtype on the `shoal` device (PrivateUse1), no memory. Each stands for one
// Value of a Graph.
#pragma once

#include <ATen/core/TensorBody.h>

#include "graph/graph.h"

namespace shoal::capture {

inline constexpr c10::DeviceType kGhostDevice = c10::DeviceType::PrivateUse1;

/// Registers the device with LibTorch (name, guard, hooks, choice of attention); once per process,
/// thread-safe.
void register_ghost_device();

/// A ghost that stands for `id` of the graph that `recording` (a number of the caller's) makes. Reading its
/// data throws c10::Error.
at::Tensor make_ghost(const graph::TensorType& type, graph::ValueId id, uint64_t recording);

bool is_ghost(const at::Tensor&);

/// The value a ghost stands for. REQUIRES: is_ghost.
graph::ValueId ghost_id(const at::Tensor&);
uint64_t ghost_recording(const at::Tensor&);

/// Strips LibTorch's functionalization wrapper: the ghost beneath, with all pending writes to it applied.
at::Tensor unwrap(const at::Tensor&);
at::Tensor wrap(const at::Tensor& ghost);

}  // namespace shoal::capture
