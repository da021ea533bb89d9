// Ghost tensors: sizes, strides and dtype on the `shoal` device (PrivateUse1), no memory. Each stands for one
// Value of a Graph.
#pragma once

#include <ATen/core/TensorBody.h>

#include <functional>
#include <memory>
#include <mutex>

#include "graph/graph.h"

namespace shoal::capture {

inline constexpr c10::DeviceType kGhostDevice = c10::DeviceType::PrivateUse1;

/// Registers the device with LibTorch (name, guard, hooks); once per process, thread-safe.
void register_ghost_device();

/// The recording that made a ghost, and what becomes of its ghosts that outlive it. Thread-safe.
class Origin {
 public:
  explicit Origin(bool of_constructor) : of_constructor(of_constructor) {}
  const bool of_constructor;  // of a described model; else one call of forward

  /// Where the numbers of its values are, once it is over: undefined for what is not known (known_values.h). A
  /// ghost of a known value is a constant to others.
  void set_numbers(std::function<at::Tensor(graph::ValueId)> numbers);
  /// Undefined when there are none.
  at::Tensor kept(graph::ValueId) const;

 private:
  mutable std::mutex mutex_;
  std::function<at::Tensor(graph::ValueId)> numbers_;
};

/// A ghost that stands for `id` of the graph that `origin` makes. Reading its data throws c10::Error.
at::Tensor make_ghost(const graph::TensorType& type, graph::ValueId id, std::shared_ptr<Origin> origin);

bool is_ghost(const at::Tensor&);
/// A tensor on the host that lies in memory as its strides say; wrapped or not.
bool is_on_host(const at::Tensor&);

/// The value a ghost stands for. REQUIRES: is_ghost.
graph::ValueId ghost_id(const at::Tensor&);
const std::shared_ptr<Origin>& ghost_origin(const at::Tensor&);

/// Whether it is LibTorch's functionalization wrapper. One that set_data put into another tensor is none.
bool is_wrapper(const at::Tensor&);

/// The ghost that a tensor of a model's code stands for, writes to it that are still pending left aside;
/// undefined when it is a tensor of the host.
at::Tensor ghost_beneath(const at::Tensor&);

/// Strips LibTorch's functionalization wrapper: the ghost beneath, with all pending writes to it applied.
at::Tensor unwrap(const at::Tensor&);
at::Tensor wrap(const at::Tensor& ghost);

}  // namespace shoal::capture
